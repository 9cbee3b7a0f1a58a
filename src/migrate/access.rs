//! A tenant's schema: made by its owner, opened to the application role, closed to all others.

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::Client;

use super::{HISTORY_TABLE, MigrateError};
use crate::tenant::{RoleName, SchemaName};

/// Deliberately without TRUNCATE, REFERENCES and TRIGGER.
const ON_TABLES: &str = "SELECT, INSERT, UPDATE, DELETE";
const ON_SEQUENCES: &str = "USAGE, SELECT, UPDATE";

pub fn quoted(schema: &SchemaName) -> String {
    escape_identifier(schema.as_str())
}

/// Makes the schema, owned by the role that `client` is logged in as, with default privileges
/// that hold for every table made in it from now on. Repeatable.
pub async fn make_schema(
    client: &Client,
    schema: &SchemaName,
    application: &RoleName,
) -> Result<(), MigrateError> {
    let role = escape_identifier(application.as_str());
    let name = quoted(schema);
    let statements = format!(
        "CREATE SCHEMA IF NOT EXISTS {name};
         REVOKE ALL ON SCHEMA {name} FROM PUBLIC;
         GRANT USAGE ON SCHEMA {name} TO {role};
         ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT {ON_TABLES} ON TABLES TO {role};
         ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT {ON_SEQUENCES} ON SEQUENCES TO {role};"
    );
    client.batch_execute(&statements).await.map_err(|source| MigrateError::Access {
        doing: "make",
        schema: schema.clone(),
        source,
    })
}

/// Opens what is in the schema by now, for objects that came from elsewhere (a restored dump
/// knows nothing of our default privileges). Repeatable.
pub async fn grant_all(
    client: &Client,
    schema: &SchemaName,
    application: &RoleName,
) -> Result<(), MigrateError> {
    let role = escape_identifier(application.as_str());
    let name = quoted(schema);
    let statements = format!(
        "REVOKE ALL ON ALL TABLES IN SCHEMA {name} FROM PUBLIC;
         REVOKE ALL ON ALL SEQUENCES IN SCHEMA {name} FROM PUBLIC;
         GRANT {ON_TABLES} ON ALL TABLES IN SCHEMA {name} TO {role};
         GRANT {ON_SEQUENCES} ON ALL SEQUENCES IN SCHEMA {name} TO {role};
         -- The application must not make us believe that a migration has run.
         REVOKE ALL ON {name}.{HISTORY_TABLE} FROM {role};"
    );
    client.batch_execute(&statements).await.map_err(|source| MigrateError::Access {
        doing: "grant access to",
        schema: schema.clone(),
        source,
    })
}
