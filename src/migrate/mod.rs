//! SQL files into schemas, once each.
//!
//! The format is refinery's, so its own tools can read what we wrote: files named
//! `V1__authors_and_books.sql`, and in each tenant's schema a table `refinery_schema_history`
//! (version, name, applied_on, checksum). What refinery has no notion of is ours: the schema.

pub mod access;

use std::path::{Path, PathBuf};

use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration, Runner, load_sql_migrations};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::tenant::SchemaName;

/// In the tenant's own schema; [`access`] keeps the application out of it.
pub const HISTORY_TABLE: &str = "refinery_schema_history";

/// Marks our advisory locks among those of others: "vene".
const LOCK_CLASS: i32 = 0x7665_6e65;
/// How long a schema that somebody else migrates is waited for, in milliseconds.
const LOCK_WAIT_MS_MAX: u32 = 60_000;

/// What the demo's and the tests' tenants begin with; part of the program so that it needs no
/// checkout to run.
const TENANT_FILES: [(&str, &str); 2] = [
    ("V1__authors_and_books", include_str!("../../migrations/tenant/V1__authors_and_books.sql")),
    ("V2__first_rows", include_str!("../../migrations/tenant/V2__first_rows.sql")),
];

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("cannot {doing} schema `{schema}`")]
    Access { doing: &'static str, schema: SchemaName, source: tokio_postgres::Error },
    #[error("somebody else has been migrating schema `{schema}` for {} s", LOCK_WAIT_MS_MAX / 1000)]
    Busy { schema: SchemaName },
    #[error("cannot lock schema `{schema}`")]
    Lock { schema: SchemaName, source: tokio_postgres::Error },
    #[error("cannot read the migrations in `{directory}`")]
    Read { directory: PathBuf, source: refinery_core::Error },
    #[error("cannot migrate schema `{schema}`")]
    Run { schema: SchemaName, source: refinery_core::Error },
    #[error("a migration that is part of veneer has a bad name")]
    Embedded(#[source] refinery_core::Error),
}

/// SQL files in the order of their versions.
#[derive(Debug, Clone)]
pub struct Migrations(Vec<Migration>);

impl Migrations {
    pub fn from_directory(directory: &Path) -> Result<Self, MigrateError> {
        load_sql_migrations(directory)
            .map(Self)
            .map_err(|source| MigrateError::Read { directory: directory.to_owned(), source })
    }

    /// The demo's `migrations/tenant`.
    pub fn embedded() -> Result<Self, MigrateError> {
        TENANT_FILES
            .iter()
            .map(|(name, sql)| Migration::unapplied(name, sql))
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(MigrateError::Embedded)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Runs what `schema` has not seen yet, one transaction for each file, and returns its names.
/// Tables belong to the role that `client` is logged in as.
///
/// Refuses a schema whose history does not fit: a file that changed or went away after it ran.
pub async fn up(
    client: &mut Client,
    schema: &SchemaName,
    migrations: &Migrations,
) -> Result<Vec<String>, MigrateError> {
    lock(client, schema).await?;
    let outcome = run(client, schema, migrations).await;
    unlock(client, schema).await;
    outcome
}

async fn run(
    client: &mut Client,
    schema: &SchemaName,
    migrations: &Migrations,
) -> Result<Vec<String>, MigrateError> {
    let mut runner = Runner::new(&migrations.0);
    runner.set_migration_table_name(format!("{}.{HISTORY_TABLE}", access::quoted(schema)));
    let report = runner
        .run_async(&mut Scoped { client, schema })
        .await
        .map_err(|source| MigrateError::Run { schema: schema.clone(), source })?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

async fn lock(client: &Client, schema: &SchemaName) -> Result<(), MigrateError> {
    let failed = |source: tokio_postgres::Error| match source.code() {
        Some(&SqlState::LOCK_NOT_AVAILABLE) => MigrateError::Busy { schema: schema.clone() },
        _ => MigrateError::Lock { schema: schema.clone(), source },
    };
    client
        .batch_execute(&format!("SET lock_timeout = {LOCK_WAIT_MS_MAX}"))
        .await
        .map_err(failed)?;
    client
        .execute("SELECT pg_advisory_lock($1, hashtext($2))", &[&LOCK_CLASS, &schema.as_str()])
        .await
        .map_err(failed)?;
    Ok(())
}

async fn unlock(client: &Client, schema: &SchemaName) {
    // A connection that cannot even unlock is broken, and its end unlocks.
    let _ = client
        .execute("SELECT pg_advisory_unlock($1, hashtext($2))", &[&LOCK_CLASS, &schema.as_str()])
        .await;
}

/// A connection whose every transaction begins in one schema, whatever the file before it did to
/// `search_path`.
struct Scoped<'a> {
    client: &'a mut Client,
    schema: &'a SchemaName,
}

impl AsyncTransaction for Scoped<'_> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let transaction = self.client.transaction().await?;
        let scope = format!("SET LOCAL search_path = {}", access::quoted(self.schema));
        transaction.batch_execute(&scope).await?;
        let mut executed = 0;
        for query in queries {
            transaction.batch_execute(query).await?;
            executed += 1;
        }
        transaction.commit().await?;
        Ok(executed)
    }
}

impl AsyncQuery<Vec<Migration>> for Scoped<'_> {
    async fn query(&mut self, query: &str) -> Result<Vec<Migration>, Self::Error> {
        // The history's name is qualified, so this needs no scope.
        AsyncQuery::query(self.client, query).await
    }
}

impl AsyncMigrate for Scoped<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_files_are_all_of_the_directory() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/tenant");
        let on_disk = Migrations::from_directory(&directory).unwrap();
        assert_eq!(Migrations::embedded().unwrap().0, on_disk.0);
    }
}
