//! Migrations from disk into the demo's tenants, whether the demo runs or not.

use std::path::Path;

use super::shard::{ADMIN_ROLE, APP_ROLE, connect};
use super::{DemoError, Options, build_world, files, papers, secret};
use crate::directory::file;
use crate::migrate::{self, Migrations, access};
use crate::tenant::{RoleName, SchemaName};

/// One tenant, and the files that ran for it just now.
#[derive(Debug)]
pub struct Migrated {
    pub tenant: SchemaName,
    pub files: Vec<String>,
}

/// Runs the files in `directory` into every tenant of the demo in `options.dir`: of the one that
/// runs, or else of one that is started for it.
pub async fn run(options: &Options, directory: &Path) -> Result<Vec<Migrated>, DemoError> {
    let migrations = Migrations::from_directory(directory)?;
    match build_world(options).await {
        Ok(world) => {
            let outcome = into_tenants(&world.dir, &migrations).await;
            world.stop().await;
            outcome
        }
        Err(DemoError::Locked { dir, .. }) => into_tenants(&dir, &migrations).await,
        Err(error) => Err(error),
    }
}

/// Everything that is needed to reach the shards stands in the demo's papers.
async fn into_tenants(dir: &Path, migrations: &Migrations) -> Result<Vec<Migrated>, DemoError> {
    let snapshot = file::load(&dir.join(papers::DIRECTORY)).map_err(DemoError::Directory)?;
    let application = RoleName::stored(APP_ROLE)?;
    let mut migrated = Vec::new();
    for shard in snapshot.shards() {
        let password = secret_of(dir, shard.name.as_str())?;
        let mut config = tokio_postgres::Config::new();
        config.host(&shard.address.host).port(shard.address.port).dbname(&shard.address.database);
        config.user(ADMIN_ROLE).password(password);
        let mut client = connect(&config).await.map_err(|source| DemoError::Shard {
            shard: shard.name.to_string(),
            doing: "let its owner in",
            source,
        })?;
        for tenant in snapshot.tenants().filter(|tenant| tenant.shard.name == shard.name) {
            let tenant = tenant.tenant.clone();
            access::make_schema(&client, &tenant, &application).await?;
            let files = migrate::up(&mut client, &tenant, migrations).await?;
            access::grant_all(&client, &tenant, &application).await?;
            migrated.push(Migrated { tenant, files });
        }
    }
    Ok(migrated)
}

fn secret_of(dir: &Path, shard: &str) -> Result<String, DemoError> {
    let path = dir.join(papers::SECRETS).join(format!("{shard}_{ADMIN_ROLE}"));
    secret::read(&path).map_err(files("read", &path))
}
