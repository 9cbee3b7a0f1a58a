//! What unqualified names mean, and how the statements of one text change it on the way.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::router::{Asker, Path, TENANT_SETTING};
use crate::sql::{Act, Change, Statement, Value};

/// What unqualified names mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight<'a> {
    pub path: Cow<'a, Path>,
    pub scope: Option<Cow<'a, str>>,
}

/// The session as it will be when a statement of the text runs.
pub struct Here<'a> {
    /// Several when a transaction has ended: which of them holds depends on how it went.
    pub sights: SmallVec<[Sight<'a>; 1]>,
    /// What the end of a transaction may bring back.
    earlier: Vec<Sight<'a>>,
}

impl<'a> Here<'a> {
    pub fn new(asker: &Asker<'a>) -> Self {
        let scope = asker.scope.map(Cow::Borrowed);
        let sight = Sight { path: Cow::Borrowed(asker.path), scope };
        Self { sights: SmallVec::from([sight]), earlier: asker.earlier.to_vec() }
    }

    /// What is certain to hold.
    pub fn only(&self) -> Option<&Sight<'a>> {
        if let [sight] = &self.sights[..] { Some(sight) } else { None }
    }

    /// A statement may move the path for those that come after it in the same text.
    pub fn follow(&mut self, statement: &Statement, asker: &Asker<'a>) {
        match &statement.act {
            Act::Set(change) => self.apply(change, asker),
            Act::ResetAll | Act::DiscardAll => {
                self.change(|sight| {
                    sight.path = Cow::Borrowed(asker.start_path);
                    sight.scope = asker.start_scope.map(Cow::Borrowed);
                });
            }
            act if act.ends_transaction() => {
                let earlier = self.earlier.iter().cloned();
                let new: Vec<_> = earlier.filter(|sight| !self.sights.contains(sight)).collect();
                self.sights.extend(new);
            }
            _ => {}
        }
        statement.set_configs.iter().for_each(|change| self.apply(change, asker));
    }

    fn apply(&mut self, change: &Change, asker: &Asker<'a>) {
        match (change.setting.as_str(), &change.value) {
            ("search_path", Value::Text(text)) => {
                let path = Path::read(text, asker.role);
                self.change(|sight| sight.path = Cow::Owned(path.clone()));
            }
            ("search_path", Value::Default) => {
                self.change(|sight| sight.path = Cow::Borrowed(asker.start_path));
            }
            (TENANT_SETTING, Value::Text(text)) => {
                let scope = Some(text).filter(|text| !text.is_empty());
                self.change(|sight| sight.scope = scope.cloned().map(Cow::Owned));
            }
            (TENANT_SETTING, Value::Default) => {
                self.change(|sight| sight.scope = asker.start_scope.map(Cow::Borrowed));
            }
            _ => {}
        }
    }

    fn change(&mut self, change: impl Fn(&mut Sight<'a>)) {
        for sight in std::mem::take(&mut self.sights) {
            let mut changed = sight.clone();
            change(&mut changed);
            if !self.earlier.contains(&sight) {
                self.earlier.push(sight);
            }
            if !self.sights.contains(&changed) {
                self.sights.push(changed);
            }
        }
    }
}
