//! What is there: the tenants' schemas on their shards, and the schemas and roles of home.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::{Client, Config, Row};

use super::{COMMENT, connect};
use crate::directory::{Residence, Shard, Snapshot};

/// Stands for everybody among roles, none of which has an empty name.
pub const PUBLIC: &str = "";

/// Who owns a schema, and who sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    pub owner: String,
    /// Who has USAGE or CREATE: `information_schema.schemata` shows a schema for either.
    pub users: BTreeSet<String>,
}

/// By shard: its tenants' schemas, or why they are not known.
pub type There = HashMap<String, Result<BTreeMap<String, Rights>, String>>;

/// A schema of home.
#[derive(Debug)]
pub struct Here {
    pub rights: Rights,
    pub comment: String,
    /// Somebody may create something in it.
    pub is_open: bool,
    is_empty: bool,
}

impl Here {
    pub fn is_ours(&self) -> bool {
        self.comment.starts_with(COMMENT)
    }

    /// Why it must not be touched.
    pub fn conflict(&self) -> Option<&'static str> {
        if !self.is_ours() {
            return Some("home has a schema of this name that is no placeholder");
        }
        (!self.is_empty).then_some("the placeholder is not empty")
    }
}

#[derive(Debug)]
pub struct Home {
    pub schemas: BTreeMap<String, Here>,
    /// Every role; whether we may give a schema to it.
    roles: HashMap<String, bool>,
    ourselves: String,
}

impl Home {
    /// The rights of a tenant's schema, as far as home has its roles; and what it lacks.
    pub fn welcome(&self, source: &Rights) -> (Rights, Option<String>) {
        let mut lacks = Vec::new();
        let owner = match self.roles.get(&source.owner) {
            Some(true) => source.owner.clone(),
            Some(false) => {
                let (us, them) = (&self.ourselves, &source.owner);
                lacks.push(format!("owned by `{us}`, who is no member of `{them}`"));
                us.clone()
            }
            None => {
                let (us, them) = (&self.ourselves, &source.owner);
                lacks.push(format!("owned by `{us}`: home has no role `{them}`"));
                us.clone()
            }
        };
        let mut users = BTreeSet::from([owner.clone()]);
        for user in source.users.iter().filter(|user| **user != source.owner) {
            if user == PUBLIC || self.roles.contains_key(user) {
                users.insert(user.clone());
            } else {
                lacks.push(format!("home has no role `{user}`"));
            }
        }
        (Rights { owner, users }, (!lacks.is_empty()).then(|| lacks.join("; ")))
    }
}

/// A schema, its owner, and those whom its list of rights gives anything.
const SCHEMAS: &str = "
SELECT n.nspname::text, pg_get_userbyid(n.nspowner)::text, ARRAY(
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END
    FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a)";

/// Anything in a schema depends on it, and so do default privileges.
const HERE: &str = ",
    coalesce(obj_description(n.oid, 'pg_namespace'), ''),
    EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
            WHERE a.privilege_type = 'CREATE'),
    NOT EXISTS (SELECT FROM pg_depend d
                WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
FROM pg_namespace n
WHERE n.nspname = ANY ($1) OR starts_with(obj_description(n.oid, 'pg_namespace'), $2)";

const ROLES: &str = "SELECT rolname::text, pg_has_role(oid, 'MEMBER'), rolname = current_user \
    FROM pg_roles";

/// Asks each shard that has tenants. A shard that does not answer holds nobody else up.
pub async fn shards(
    directory: &Snapshot,
    tenants: &[&Residence],
    login: impl Fn(&Shard) -> Config,
) -> There {
    let mut there = There::new();
    for shard in directory.shards() {
        let here = tenants.iter().filter(|tenant| tenant.shard.name == shard.name);
        let names: Vec<&str> = here.map(|tenant| tenant.tenant.as_str()).collect();
        if names.is_empty() {
            continue;
        }
        let asked = ask(&login(shard), &names).await;
        let schemas = asked.map_err(|error| {
            format!("shard `{}` cannot be asked: {}", shard.name, super::said(&error))
        });
        there.insert(shard.name.to_string(), schemas);
    }
    there
}

async fn ask(
    config: &Config,
    names: &[&str],
) -> Result<BTreeMap<String, Rights>, tokio_postgres::Error> {
    let client = connect(config).await?;
    let sql = format!("{SCHEMAS} FROM pg_namespace n WHERE n.nspname = ANY ($1)");
    let rows = client.query(&sql, &[&names]).await?;
    Ok(rows.iter().map(|row| (row.get(0), rights(row))).collect())
}

/// The schemas that carry a tenant's name, or our comment.
pub async fn home(client: &Client, tenants: &[&Residence]) -> Result<Home, tokio_postgres::Error> {
    let names: Vec<&str> = tenants.iter().map(|tenant| tenant.tenant.as_str()).collect();
    let rows = client.query(&format!("{SCHEMAS}{HERE}"), &[&names, &COMMENT]).await?;
    let schema = |row: &Row| {
        let here = Here {
            rights: rights(row),
            comment: row.get(3),
            is_open: row.get(4),
            is_empty: row.get(5),
        };
        (row.get(0), here)
    };
    let schemas = rows.iter().map(schema).collect();
    let (mut roles, mut ourselves) = (HashMap::new(), String::new());
    for row in client.query(ROLES, &[]).await? {
        let role: String = row.get(0);
        if row.get(2) {
            ourselves.clone_from(&role);
        }
        roles.insert(role, row.get(1));
    }
    Ok(Home { schemas, roles, ourselves })
}

fn rights(row: &Row) -> Rights {
    let users: Vec<String> = row.get(2);
    Rights { owner: row.get(1), users: users.into_iter().collect() }
}
