//! One shard of the demo: a cluster with the database, its two roles and some tenants.

use std::path::Path;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client, NoTls};

use super::cluster::{Cluster, ClusterError};
use super::{DemoError, files, secret};
use crate::migrate::{self, Migrations, access};
use crate::tenant::{RoleName, SchemaName};

pub const DATABASE: &str = "bookstore";
/// Owns the database and the tenants' schemas; not a superuser.
pub const ADMIN_ROLE: &str = "bookstore_admin";
/// Reads and writes rows, and nothing else.
pub const APP_ROLE: &str = "bookstore_app";

#[derive(Debug)]
pub struct Shard {
    pub name: &'static str,
    pub tenants: &'static [&'static str],
    pub cluster: Cluster,
    pub admin_password: String,
    pub app_password: String,
}

/// What a shard is before it runs.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint {
    pub name: &'static str,
    pub tenants: &'static [&'static str],
}

pub const SHARDS: [Blueprint; 3] = [
    Blueprint { name: "shard1", tenants: &["bluth_co"] },
    Blueprint { name: "shard2", tenants: &["cyberdyne", "dunder_mifflin"] },
    Blueprint { name: "shard3", tenants: &["initech"] },
];

impl Blueprint {
    /// Builds what is missing and leaves alone what is there.
    pub async fn build(
        self,
        clusters: &Path,
        secrets: &Path,
        port: u16,
    ) -> Result<Shard, DemoError> {
        let keep = |role: &str| {
            let path = secrets.join(format!("{}_{role}", self.name));
            secret::keep(&path).map_err(files("keep a password in", &path))
        };
        let shard = Shard {
            name: self.name,
            tenants: self.tenants,
            admin_password: keep(ADMIN_ROLE)?,
            app_password: keep(APP_ROLE)?,
            cluster: self.cluster(&clusters.join(self.name), port).await.map_err(|source| {
                DemoError::Cluster { shard: self.name, source: Box::new(source) }
            })?,
        };
        shard.make_roles_and_database().await.map_err(shard.asked("make roles and database"))?;
        shard.make_tenants().await?;
        Ok(shard)
    }

    /// On `port`, or on a free one when it is 0 or taken.
    async fn cluster(self, directory: &Path, port: u16) -> Result<Cluster, ClusterError> {
        if port != 0 {
            match Cluster::create(directory, Some(port)).await {
                Err(ClusterError::PortTaken(_)) => (),
                outcome => return outcome,
            }
        }
        Cluster::create(directory, None).await
    }
}

impl Shard {
    pub fn admin_config(&self) -> tokio_postgres::Config {
        self.cluster.config(ADMIN_ROLE, &self.admin_password, DATABASE)
    }

    pub fn app_config(&self) -> tokio_postgres::Config {
        self.cluster.config(APP_ROLE, &self.app_password, DATABASE)
    }

    async fn make_roles_and_database(&self) -> Result<(), tokio_postgres::Error> {
        let mut superuser = self.cluster.superuser_config();
        let client = connect(&superuser).await?;
        make_role(&client, ADMIN_ROLE, &self.admin_password).await?;
        make_role(&client, APP_ROLE, &self.app_password).await?;
        let known = "SELECT FROM pg_database WHERE datname = $1";
        if client.execute(known, &[&DATABASE]).await? == 0 {
            // Cannot share a message with other statements: it refuses a transaction.
            client.batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {ADMIN_ROLE}")).await?;
        }
        client
            .batch_execute(&format!(
                "REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
                 GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {APP_ROLE};"
            ))
            .await?;
        let client = connect(superuser.dbname(DATABASE)).await?;
        client
            .batch_execute(&format!(
                "REVOKE ALL ON SCHEMA public FROM PUBLIC;
                 GRANT USAGE ON SCHEMA public TO {APP_ROLE};"
            ))
            .await
    }

    async fn make_tenants(&self) -> Result<(), DemoError> {
        let migrations = Migrations::embedded()?;
        let application = RoleName::stored(APP_ROLE)?;
        let mut client =
            connect(&self.admin_config()).await.map_err(self.asked("log in as its owner"))?;
        for tenant in self.tenants {
            let schema = SchemaName::stored(tenant)?;
            access::make_schema(&client, &schema, &application).await?;
            migrate::up(&mut client, &schema, &migrations).await?;
            access::grant_all(&client, &schema, &application).await?;
        }
        Ok(())
    }

    /// What the shard is asked from now on is what the demo is about.
    pub fn forget_log(&self) -> Result<(), DemoError> {
        self.cluster
            .forget_log()
            .map_err(|source| DemoError::Cluster { shard: self.name, source: Box::new(source) })
    }

    fn asked(&self, doing: &'static str) -> impl Fn(tokio_postgres::Error) -> DemoError + use<> {
        let shard = self.name;
        move |source| DemoError::Shard { shard: shard.to_owned(), doing, source }
    }
}

async fn make_role(
    client: &Client,
    role: &str,
    password: &str,
) -> Result<(), tokio_postgres::Error> {
    let name = escape_identifier(role);
    if client.execute("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).await? == 0 {
        client.batch_execute(&format!("CREATE ROLE {name}")).await?;
    }
    // A verifier, because every statement is logged; each time anew, because it follows the file.
    let verifier = escape_literal(&scram_sha_256(password.as_bytes()));
    client.batch_execute(&format!("ALTER ROLE {name} LOGIN PASSWORD {verifier}")).await
}

/// Connects and leaves the talking to a task of its own.
pub async fn connect(config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // What ends the connection is told to the client's next caller.
    tokio::spawn(connection);
    Ok(client)
}
