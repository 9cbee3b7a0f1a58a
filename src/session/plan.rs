//! Where a text of this session goes.

use std::sync::Arc;

use crate::backend::prepared;
use crate::backend::settings::Told;
use crate::protocol::answer::{Report, Status};
use crate::router::refusal::Refusal;
use crate::router::{self, Firmness, Plan, Reason, TENANT_SETTING};
use crate::session::{Place, Session, report};
use crate::sql::{Act, Statement, Text, Value};
use crate::tenant::ShardName;

/// The last text that was planned, with all that the plan hung on. A pipeline asks for the same
/// text at Parse and at Bind, and most sessions repeat themselves.
#[derive(Debug)]
pub(super) struct LastPlan {
    text: Arc<Text>,
    revision: u64,
    path: Arc<str>,
    scope: Option<Told>,
    affinity: Option<ShardName>,
    plan: Plan,
}

impl Session {
    /// In a failed transaction everything goes to the shard that failed: it knows what to say. But
    /// what stands behind a ROLLBACK in the same text will be executed.
    pub(super) fn plan_for(&mut self, text: &Arc<Text>) -> Result<Plan, Report> {
        let stays = match &self.place {
            Place::Lost(_) => Some(self.parts.directory.snapshot().home().clone()),
            Place::Working(work)
                if work.status == Status::Failed
                    && work.ledger.is_empty()
                    && !text.goes_on_after_its_transaction() =>
            {
                Some(work.shard.clone())
            }
            _ => None,
        };
        match stays {
            Some(shard) => {
                Ok(Plan { shard, reason: Reason::Home, firmness: Firmness::Soft, also: None })
            }
            None => self.plan(text),
        }
    }

    /// Decides where a text goes, or remembers it.
    fn plan(&mut self, text: &Arc<Text>) -> Result<Plan, Report> {
        let snapshot = self.parts.directory.snapshot();
        let scope = self.tracked.get(TENANT_SETTING);
        if let Some(last) = &self.last_plan
            && Arc::ptr_eq(&last.text, text)
            && last.revision == snapshot.revision()
            && Arc::ptr_eq(&last.path, &self.path_text)
            && last.scope.as_ref() == scope
            && last.affinity == self.affinity
        {
            return Ok(last.plan.clone());
        }
        if let Some(refusal) = refused_setting(text) {
            return Err(report::refusal(&refusal));
        }
        if let Some(report) = foreign_statement(text) {
            return Err(report);
        }
        let goes_on = text.goes_on_after_its_transaction();
        let earlier = if goes_on { self.earlier_sights() } else { Vec::new() };
        let plan = self
            .asking(&earlier, |asker| router::route(text, asker, &snapshot))
            .map_err(|refusal| report::refusal(&refusal))?;
        // Of a single statement: the facts of many would be much to hold for who is idle, and what may
        // come back at the end of a transaction within them is not among what is compared.
        self.last_plan = matches!(text.statements[..], [_]).then(|| LastPlan {
            text: text.clone(),
            revision: snapshot.revision(),
            path: self.path_text.clone(),
            scope: scope.cloned(),
            affinity: self.affinity.clone(),
            plan: plan.clone(),
        });
        Ok(plan)
    }
}

/// Statements that other sessions have prepared on the same backend are nobody's by name.
fn foreign_statement(text: &Text) -> Option<Report> {
    let named = |statement: &Statement| match &statement.act {
        Act::Prepare(name) | Act::Execute(name) | Act::Deallocate(Some(name)) => {
            name.starts_with(prepared::PREFIX).then(|| name.clone())
        }
        _ => None,
    };
    let name = text.statements.iter().find_map(named)?;
    let message = format!("prepared statement \"{name}\" does not exist");
    Some(Report::error(report::code::INVALID_STATEMENT, message))
}

/// Settings under which veneer and the shard would not read the same text alike, or under which
/// the shard would not know the client for what it is.
fn refused_setting(text: &Text) -> Option<Refusal> {
    let changes = text.statements.iter().flat_map(|statement| {
        let set = match &statement.act {
            Act::Set(change) => Some(change),
            _ => None,
        };
        set.into_iter().chain(&statement.set_configs)
    });
    for change in changes {
        let value = match &change.value {
            Value::Text(text) => Some(text.as_str()),
            // A parameter is looked at when it is bound: then it is a text, or unknown.
            Value::Default | Value::Parameter(_) => continue,
            Value::Statement(_) | Value::Unknown => None,
        };
        if let Some(why) = report::refuse_setting(&change.setting, value) {
            return Some(Refusal::Setting { setting: change.setting.clone(), why });
        }
    }
    None
}
