//! Statement, session facts and directory become a plan. Pure: no socket, clock or lock.
//!
//! ```text
//! text ─▶ for each statement: the path it will see, the homes of all that it names
//!      ─▶ one shard? ─▶ Plan { shard, reason, firmness }      several? ─▶ Refusal
//! ```

mod catalogue;
mod plan;
pub mod refusal;
mod sight;

pub use catalogue::affinity;
pub use plan::{Firmness, Plan, Reason};
pub use sight::Sight;

use std::sync::Arc;

use serde::Deserialize;
use smallvec::SmallVec;

use crate::directory::{Residence, Shard, Snapshot};
use crate::router::catalogue::Wants;
use crate::router::refusal::Refusal;
use crate::router::sight::Here;
use crate::sql::{Access, Act, NameKind, Statement, Text, path};
use crate::tenant::{SchemaName, ShardName, Standing};

/// The setting that scopes a session to one tenant, unqualified names and all.
pub const TENANT_SETTING: &str = "veneer.tenant";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub no_tenant: NoTenant,
    /// Schemas that are nobody's own. Their relations live on home.
    pub shared_schemas: Vec<SchemaName>,
}

impl Default for Settings {
    fn default() -> Self {
        let public = SchemaName::stored("public").expect("a good name");
        Self { no_tenant: NoTenant::Home, shared_schemas: vec![public] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
/// Where an unqualified relation goes while no tenant is selected.
pub enum NoTenant {
    Home,
    Refuse,
}

/// The schemas that unqualified names are looked up in, by name; `"$user"` is already the role's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    schemas: Vec<PathSchema>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PathSchema {
    Named(String),
    /// `"$user"`: PostgreSQL passes over it when there is no such schema, and so do we.
    Role(String),
}

impl Path {
    /// Reads the text of a `search_path`. A text that PostgreSQL would refuse names nothing.
    pub fn read(text: &str, role: &str) -> Self {
        let schemas = path::split(text).unwrap_or_default().into_iter();
        let named = |schema: String| match schema.as_str() {
            "$user" => PathSchema::Role(role.to_owned()),
            _ => PathSchema::Named(schema),
        };
        Self { schemas: schemas.map(named).collect() }
    }

    fn tenants<'a>(&self, directory: &'a Snapshot) -> impl Iterator<Item = &'a Residence> {
        self.schemas.iter().filter_map(|schema| match schema {
            PathSchema::Named(name) | PathSchema::Role(name) => directory.residence(name),
        })
    }

    fn tenant<'a>(&self, directory: &'a Snapshot) -> Option<&'a Residence> {
        self.tenants(directory).next()
    }

    /// The first schema that nobody knows: a misspelt tenant, probably.
    fn unknown(&self, shared: &[SchemaName]) -> Option<&str> {
        self.schemas.iter().find_map(|schema| match schema {
            PathSchema::Named(name) if !is_system(name) && !is_shared(name, shared) => {
                // `''`, which means "no schema at all", is nobody's slip.
                Some(name.as_str()).filter(|name| !name.is_empty())
            }
            PathSchema::Named(_) | PathSchema::Role(_) => None,
        })
    }
}

/// What the router must know of who asks.
pub struct Asker<'a> {
    pub settings: &'a Settings,
    pub user: &'a str,
    /// Whether the user may use a tenant.
    pub may_use: &'a dyn Fn(&str) -> bool,
    /// The role in force on the shards, for `"$user"`.
    pub role: &'a str,
    /// `veneer.tenant`, when it is set.
    pub scope: Option<&'a str>,
    pub path: &'a Path,
    /// What RESET makes of them.
    pub start_scope: Option<&'a str>,
    pub start_path: &'a Path,
    /// What they may become when the open transaction, or a part of it, ends.
    pub earlier: &'a [Sight<'a>],
    /// The shard that last answered: what numbers (OIDs) the session holds are that shard's.
    pub affinity: Option<&'a ShardName>,
}

/// Decides where a text goes, all of it.
pub fn route(text: &Text, asker: &Asker<'_>, directory: &Snapshot) -> Result<Plan, Refusal> {
    let mut draft = Draft::new(asker, directory);
    let mut here = Here::new(asker);
    for statement in &text.statements {
        draft.add(statement, &here)?;
        here.follow(statement, asker);
    }
    // A path that is only set is about to be used, and better where it leads.
    draft.lead = draft.lead.or_else(|| here.only().cloned());
    draft.decide(text)
}

/// Where a session's tenantless work goes: its tenant's shard, else home.
pub fn base<'a>(asker: &Asker<'_>, directory: &'a Snapshot) -> (&'a Arc<Shard>, Reason) {
    seen_from(asker.scope, asker.path, directory)
}

fn seen_from<'a>(
    scope: Option<&str>,
    path: &Path,
    directory: &'a Snapshot,
) -> (&'a Arc<Shard>, Reason) {
    let scoped = scope.and_then(|scope| directory.residence(scope));
    if let Some(residence) = scoped {
        return (&residence.shard, Reason::Scope(residence.tenant.clone()));
    }
    match path.tenant(directory) {
        Some(residence) => (&residence.shard, Reason::Path(residence.tenant.clone())),
        None => (directory.home(), Reason::Home),
    }
}

struct Draft<'a> {
    asker: &'a Asker<'a>,
    directory: &'a Snapshot,
    /// Mostly one: nothing is allocated for it.
    goals: SmallVec<[(Arc<Shard>, Reason); 1]>,
    wants: Wants,
    /// Tenants that PostgreSQL might look a name up in and the user may not use.
    forbidden: Vec<&'a Residence>,
    /// What names mean for the first statement that is more than a SET, or behind all SETs.
    lead: Option<Sight<'a>>,
}

impl<'a> Draft<'a> {
    fn new(asker: &'a Asker<'a>, directory: &'a Snapshot) -> Self {
        let (goals, wants, forbidden) = (SmallVec::new(), Wants::default(), Vec::new());
        Self { asker, directory, goals, wants, forbidden, lead: None }
    }

    fn add(&mut self, statement: &Statement, here: &Here<'a>) -> Result<(), Refusal> {
        match statement.access {
            Access::Lifecycle => return Err(Refusal::Lifecycle),
            Access::Shared(command) => return Err(Refusal::SharedByAll(command)),
            Access::Nothing | Access::Read | Access::Write | Access::Define => {}
        }
        if statement.act == Act::TwoPhase {
            return Err(Refusal::TwoPhase);
        }
        if let ([sight], None) = (&here.sights[..], &self.lead)
            && statement.access != Access::Nothing
        {
            self.lead = Some(sight.clone());
        }
        if let Some(asks) = catalogue::question(statement) {
            let is_scoped = here.sights.iter().any(|sight| sight.scope.is_some());
            return self.add_question(statement, asks, is_scoped);
        }
        for name in &statement.names {
            self.add_name(&name.schema, name.kind, statement.access)?;
        }
        for sight in &here.sights {
            if statement.unqualified {
                self.add_unqualified(sight, statement.access)?;
            }
            if statement.access != Access::Nothing && statement.catalogue.is_none() {
                let tenants = sight.path.tenants(self.directory);
                self.forbidden.extend(tenants.filter(|t| !(self.asker.may_use)(t.tenant.as_str())));
            }
        }
        Ok(())
    }

    fn add_name(&mut self, schema: &str, kind: NameKind, access: Access) -> Result<(), Refusal> {
        if let Some(residence) = self.directory.residence(schema) {
            let reason = Reason::Named(residence.tenant.clone());
            return self.add_tenant(residence, reason, access);
        }
        if let Some(shared) =
            self.asker.settings.shared_schemas.iter().find(|s| s.as_str() == schema)
        {
            // Functions and types of a shared schema (extensions) are on every shard.
            if kind == NameKind::Relation {
                self.goals.push((self.directory.home().clone(), Reason::Shared(shared.clone())));
            }
            return Ok(());
        }
        if kind == NameKind::Perhaps || is_system(schema) {
            return Ok(());
        }
        Err(self.unknown(schema))
    }

    fn add_unqualified(&mut self, sight: &Sight<'_>, access: Access) -> Result<(), Refusal> {
        if let Some(scope) = &sight.scope {
            let Some(residence) = self.directory.residence(scope) else {
                return Err(self.unknown(scope));
            };
            let reason = Reason::Scope(residence.tenant.clone());
            self.add_tenant(residence, reason, access)?;
        }
        // The scope chooses the shard, but there it is the path that finds the name.
        if let Some(residence) = sight.path.tenant(self.directory) {
            let reason = Reason::Path(residence.tenant.clone());
            return self.add_tenant(residence, reason, access);
        }
        if sight.scope.is_some() {
            return Ok(());
        }
        // PostgreSQL would pass over the unknown schema and answer from `public`.
        if let Some(schema) = sight.path.unknown(&self.asker.settings.shared_schemas) {
            return Err(self.unknown(schema));
        }
        match self.asker.settings.no_tenant {
            NoTenant::Home => {
                self.goals.push((self.directory.home().clone(), Reason::Home));
                Ok(())
            }
            NoTenant::Refuse => Err(Refusal::NoTenant),
        }
    }

    fn add_tenant(
        &mut self,
        residence: &Residence,
        reason: Reason,
        access: Access,
    ) -> Result<(), Refusal> {
        self.check_tenant(residence, access)?;
        self.goals.push((residence.shard.clone(), reason));
        Ok(())
    }

    fn check_tenant(&self, residence: &Residence, access: Access) -> Result<(), Refusal> {
        let tenant = &residence.tenant;
        if !(self.asker.may_use)(tenant.as_str()) {
            let user = self.asker.user.to_owned();
            return Err(Refusal::NotYours { tenant: tenant.clone(), user });
        }
        match residence.standing {
            Standing::Active => {}
            Standing::ReadOnly if matches!(access, Access::Nothing | Access::Read) => {}
            Standing::ReadOnly => return Err(Refusal::ReadOnly(tenant.clone())),
            standing => return Err(Refusal::Unavailable { tenant: tenant.clone(), standing }),
        }
        Ok(())
    }

    /// PostgreSQL looks an unqualified name up in every schema of the path that it has.
    fn check_path(&self, shard: &Shard) -> Result<(), Refusal> {
        match self.forbidden.iter().find(|residence| residence.shard.name == shard.name) {
            None => Ok(()),
            Some(residence) => {
                let user = self.asker.user.to_owned();
                Err(Refusal::NotYours { tenant: residence.tenant.clone(), user })
            }
        }
    }

    fn unknown(&self, schema: &str) -> Refusal {
        let may_use = |tenant: &&SchemaName| (self.asker.may_use)(tenant.as_str());
        let nearest = self.directory.nearest(schema).filter(may_use).cloned();
        Refusal::UnknownTenant { schema: schema.to_owned(), nearest }
    }

    fn decide(mut self, text: &Text) -> Result<Plan, Refusal> {
        let Some((shard, _)) = self.goals.first() else {
            let harmful = text.statements.iter().find(|statement| !is_harmless(statement));
            return match self.wants.is_empty() {
                true => self.anywhere(harmful),
                false => self.answer(harmful.is_none()),
            };
        };
        self.check_path(shard)?;
        if !self.wants.is_empty() {
            let wants = std::mem::take(&mut self.wants);
            let elsewhere = wants.elsewhere(shard, self.directory.home());
            self.goals.extend(elsewhere);
        }
        if self.goals.iter().any(|(other, _)| other.name != self.goals[0].0.name) {
            return Err(Refusal::SeveralShards(places(&self.goals)));
        }
        let (shard, reason) = self.goals.swap_remove(0);
        Ok(Plan { shard, reason, firmness: Firmness::Firm, also: None })
    }

    /// Nothing names a home.
    fn anywhere(mut self, harmful: Option<&Statement>) -> Result<Plan, Refusal> {
        let (mut shard, mut reason) = match &self.lead {
            Some(sight) => seen_from(sight.scope.as_deref(), &sight.path, self.directory),
            None => base(self.asker, self.directory),
        };
        if self.wants.is_for_home() && harmful.is_none() {
            (shard, reason) = (self.directory.home(), Reason::Schemas);
        }
        if let (Some(statement), Some(tenant)) = (harmful, reason.tenant()) {
            // A function without a qualifier is looked up in the tenant's schema.
            if let Some(residence) = self.directory.residence(tenant.as_str()) {
                self.add_tenant(residence, reason.clone(), statement.access)?;
            }
        }
        self.check_path(shard)?;
        let firmness = if harmful.is_some() { Firmness::Loose } else { Firmness::Soft };
        Ok(Plan { shard: shard.clone(), reason, firmness, also: None })
    }
}

/// Asks nothing of anyone's rows, and runs nobody's code.
fn is_harmless(statement: &Statement) -> bool {
    match statement.access {
        Access::Nothing => true,
        Access::Read => statement.catalogue.is_some(),
        _ => false,
    }
}

/// Who stands where, each once, for the detail of a refusal.
fn places(goals: &[(Arc<Shard>, Reason)]) -> Vec<refusal::Place> {
    let mut places: Vec<refusal::Place> = Vec::new();
    for (shard, reason) in goals {
        let what = match reason {
            Reason::Named(name) | Reason::Scope(name) | Reason::Path(name) => {
                format!("tenant \"{name}\"")
            }
            Reason::Shared(name) => format!("shared schema \"{name}\""),
            Reason::Home | Reason::Schemas => "what belongs to no tenant".to_owned(),
            // Told by its shard.
            Reason::Affinity(_) => "what an OID names".to_owned(),
        };
        let place = refusal::Place { what, shard: shard.name.clone() };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn is_system(schema: &str) -> bool {
    schema == "information_schema" || schema.starts_with("pg_")
}

fn is_shared(schema: &str, shared: &[SchemaName]) -> bool {
    shared.iter().any(|name| name.as_str() == schema)
}

#[cfg(test)]
mod tests;
