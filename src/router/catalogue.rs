//! Where a query of the catalogue is answered.
//!
//! 1. Tenants that it names: on their shard. If it asks about schemas only, home would do as well,
//!    whose placeholders stand for all tenants; so home answers for tenants of several shards.
//! 2. Objects that it names by their numbers (OIDs): on the shard that has given them out, which is
//!    the one that last answered this session: its *affinity*.
//! 3. All schemas, roles or databases: on home, unless the session is scoped to a tenant.
//! 4. Anything else: where the session's tenant lives, else on home.
//!
//! Such reads bind a transaction to no shard.

use std::sync::Arc;

use crate::directory::{Shard, Snapshot};
use crate::router::refusal::Refusal;
use crate::router::{Asker, Draft, Firmness, Plan, Reason, TENANT_SETTING, places};
use crate::sql::{About, Access, Act, Catalogue, Leaves, NameKind, Statement, Text};
use crate::tenant::ShardName;

/// Where a query of the catalogue must be asked.
pub(super) struct Want {
    pub shard: Arc<Shard>,
    pub reason: Reason,
    /// Home answers as well.
    pub or_home: bool,
}

/// What the text's queries of the catalogue want, all together.
#[derive(Default)]
pub(super) struct Wants {
    list: Vec<Want>,
    /// One asks for all schemas.
    lists: bool,
    /// One asks for what the session's tenant's shard has.
    at_base: bool,
}

impl Wants {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether home is the place for all that the text asks, though nothing binds it there.
    pub fn is_for_home(&self) -> bool {
        self.lists && !self.at_base
    }

    /// Whether all can be asked where the rest of the text must go; else who stands elsewhere.
    pub fn elsewhere(self, shard: &Shard, home: &Shard) -> Vec<(Arc<Shard>, Reason)> {
        let suits = |want: &Want| {
            want.shard.name == shard.name || (want.or_home && shard.name == home.name)
        };
        let others = self.list.into_iter().filter(|want| !suits(want));
        others.map(|want| (want.shard, want.reason)).collect()
    }
}

/// The question, if the statement does nothing but ask it.
pub(super) fn question(statement: &Statement) -> Option<&Catalogue> {
    let only_asks = statement.access <= Access::Read
        && matches!(statement.act, Act::None | Act::Copy)
        && statement.leaves == Leaves::default();
    let names_objects = statement.names.iter().any(|name| name.kind != NameKind::Perhaps);
    statement.catalogue.as_ref().filter(|_| only_asks && !names_objects)
}

/// The shard whose numbers a session holds once `shard` has answered it.
pub fn affinity(
    before: Option<&ShardName>,
    text: &Text,
    plan: &Plan,
    shard: &ShardName,
) -> Option<ShardName> {
    // Only prepared: the answer is still to come. Of schemas home tells names, and no numbers.
    let by_proxy = plan.also.is_some() && plan.shard.name != *shard;
    if text.awaits_values() || plan.reason == Reason::Schemas || by_proxy {
        return before.cloned();
    }
    // The scope is for numbers, too.
    if text.statements.iter().any(rescopes) {
        return None;
    }
    let answers = text.statements.iter().any(|statement| statement.access != Access::Nothing);
    if answers { Some(shard.clone()) } else { before.cloned() }
}

fn rescopes(statement: &Statement) -> bool {
    let set = match &statement.act {
        Act::ResetAll | Act::DiscardAll => return true,
        Act::Set(change) => Some(change),
        _ => None,
    };
    set.into_iter().chain(&statement.set_configs).any(|change| change.setting == TENANT_SETTING)
}

impl Draft<'_> {
    pub(super) fn add_question(
        &mut self,
        statement: &Statement,
        asks: &Catalogue,
        is_scoped: bool,
    ) -> Result<(), Refusal> {
        let or_home = asks.about == About::Schemas && !asks.numbers;
        let mut named = false;
        for name in &statement.names {
            let Some(residence) = self.directory.residence(&name.schema) else { continue };
            named = true;
            let want = match self.check_tenant(residence, statement.access) {
                Ok(()) => {
                    let reason = Reason::Named(residence.tenant.clone());
                    Want { shard: residence.shard.clone(), reason, or_home }
                }
                // That there is such a schema is no secret: every list shows it.
                Err(_) if or_home => {
                    let shard = self.directory.home().clone();
                    Want { shard, reason: Reason::Schemas, or_home }
                }
                Err(refusal) => return Err(refusal),
            };
            self.wants.list.push(want);
        }
        if named {
            return Ok(());
        }
        let affinity = asks.numbers.then(|| known(self.asker, self.directory)).flatten();
        if let Some(shard) = affinity {
            let reason = Reason::Affinity(shard.name.clone());
            self.wants.list.push(Want { shard: shard.clone(), reason, or_home: false });
        } else if or_home && !is_scoped {
            self.wants.lists = true;
        } else {
            self.wants.at_base = true;
        }
        Ok(())
    }

    /// Nothing in the text but questions has a place.
    pub(super) fn answer(mut self, harmless: bool) -> Result<Plan, Refusal> {
        let home = self.directory.home().clone();
        let list = std::mem::take(&mut self.wants.list);
        let or_home = list.iter().all(|want| want.or_home || want.shard.name == home.name);
        let split = list.iter().any(|want| want.shard.name != list[0].shard.name);
        // Another statement asks for all schemas.
        let split = split || (or_home && self.wants.is_for_home());
        let goals: Vec<_> = list.into_iter().map(|want| (want.shard, want.reason)).collect();
        if split && !or_home {
            return Err(Refusal::SeveralShards(places(&goals)));
        }
        let (shard, reason) = match goals.into_iter().next() {
            Some(first) if !split => first,
            _ => (home.clone(), Reason::Schemas),
        };
        self.check_path(&shard)?;
        let firmness = if harmless { Firmness::Passing } else { Firmness::Firm };
        let also = (or_home && harmless && shard.name != home.name).then_some(home);
        Ok(Plan { shard, reason, firmness, also })
    }
}

fn known<'a>(asker: &Asker<'_>, directory: &'a Snapshot) -> Option<&'a Arc<Shard>> {
    directory.shard(asker.affinity?.as_str())
}
