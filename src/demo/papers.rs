//! What the demo writes down: veneer's config, the directory of tenants, passwords, libpq services.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::shard::{ADMIN_ROLE, APP_ROLE, DATABASE, Shard};
use super::{DemoError, files, secret};

/// The folder of passwords, beside the config.
pub const SECRETS: &str = "secrets";
pub const APP_USER: &str = "veneer_app";
pub const ADMIN_USER: &str = "veneer_admin";
/// Fixed, so that what is printed once can be pasted for ever. All that it opens is a demo that
/// listens on loopback only.
const APP_PASSWORD: &str = "bookstore";

#[derive(Debug, Clone)]
pub struct Papers {
    pub config: PathBuf,
    /// Where veneer's own log goes; `make show-logs-shard1` reads it.
    pub log: PathBuf,
    /// For `PGSERVICEFILE`: `veneer`, `veneer-admin`, `shard1` ….
    pub services: PathBuf,
    /// veneer's, on 127.0.0.1.
    pub listen_port: u16,
    pub app: Login,
    pub admin: Login,
}

/// Somebody that veneer knows.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: &'static str,
    pub password: String,
}

impl Papers {
    pub(super) fn write(dir: &Path, listen_port: u16, shards: &[Shard]) -> Result<Self, DemoError> {
        let secrets = dir.join(SECRETS);
        let app_file = secrets.join(APP_USER);
        secret::write(&app_file, APP_PASSWORD).map_err(files("write", &app_file))?;
        let admin_file = secrets.join(ADMIN_USER);
        let admin_password = secret::keep(&admin_file).map_err(files("write", &admin_file))?;
        let papers = Self {
            config: dir.join("veneer.yaml"),
            log: dir.join("veneer.log"),
            services: dir.join("services"),
            listen_port,
            app: Login { user: APP_USER, password: APP_PASSWORD.to_owned() },
            admin: Login { user: ADMIN_USER, password: admin_password },
        };
        let tenants = dir.join("tenants.yaml");
        for (path, text) in [
            (&papers.config, config(listen_port, shards)),
            (&tenants, directory(shards)),
            (&papers.services, papers.services(shards)),
        ] {
            secret::write(path, &text).map_err(files("write", path))?;
        }
        Ok(papers)
    }

    /// With its password, to paste.
    pub fn url(&self, login: &Login) -> String {
        let Login { user, password } = login;
        format!("postgres://{user}:{password}@127.0.0.1:{}/{DATABASE}", self.listen_port)
    }

    fn services(&self, shards: &[Shard]) -> String {
        let mut text = String::new();
        let mut service = |name: &str, port: u16, user: &str, password: &str| {
            let _ = writeln!(
                text,
                "[{name}]\nhost=127.0.0.1\nport={port}\nuser={user}\npassword={password}\ndbname={DATABASE}\n"
            );
        };
        service("veneer", self.listen_port, self.app.user, &self.app.password);
        service("veneer-admin", self.listen_port, self.admin.user, &self.admin.password);
        for shard in shards {
            service(shard.name, shard.cluster.port(), ADMIN_ROLE, &shard.admin_password);
        }
        text
    }
}

fn config(listen_port: u16, shards: &[Shard]) -> String {
    let mut text = format!(
        "# Written by `veneer demo`, anew each time.\n\
         listen: 127.0.0.1:{listen_port}\n\
         database: {DATABASE}\n\
         home: shard1\n\
         directory:\n  file: tenants.yaml\n\
         log:\n  statements: all\n  file: veneer.log\n\
         shards:\n"
    );
    for shard in shards {
        let port = shard.cluster.port();
        let _ = writeln!(text, "  {}: {{host: 127.0.0.1, port: {port}}}", shard.name);
    }
    text.push_str("users:\n");
    for (user, role) in [(APP_USER, APP_ROLE), (ADMIN_USER, ADMIN_ROLE)] {
        let _ = writeln!(
            text,
            "  {user}:\n    password: {{file: {SECRETS}/{user}}}\n    tenants: all\n    as:"
        );
        for Shard { name, .. } in shards {
            let _ = writeln!(
                text,
                "      {name}: {{user: {role}, password: {{file: {SECRETS}/{name}_{role}}}}}"
            );
        }
    }
    text
}

fn directory(shards: &[Shard]) -> String {
    let mut text = String::from("# Written by `veneer demo`, anew each time.\ntenants:\n");
    for shard in shards {
        for tenant in shard.tenants {
            let _ = writeln!(text, "  {tenant}: {{shard: {}}}", shard.name);
        }
    }
    text
}
