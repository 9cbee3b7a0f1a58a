//! What the demo writes down: veneer's config, the directory of tenants, passwords, libpq services.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::shard::{ADMIN_ROLE, APP_ROLE, DATABASE, Shard};
use super::{DemoError, SHARD_PORTS, files, secret};

/// The folder of passwords, beside the config.
pub const SECRETS: &str = "secrets";
/// Who lives where, beside the config.
pub const DIRECTORY: &str = "tenants.yaml";
pub const APP_USER: &str = "veneer_app";
pub const ADMIN_USER: &str = "veneer_admin";
/// Fixed, so that what is printed once can be pasted for ever. All that it opens is a demo that
/// listens on loopback only.
const APP_PASSWORD: &str = "bookstore";

const LOG: &str = "veneer.log";

// The demo runs on what is shipped, so that there is one source of truth; a test holds the parts
// that it replaces to the shipped text.
const SHIPPED_CONFIG: &str = include_str!("../../config/veneer.yaml");
const SHIPPED_DIRECTORY: &str = include_str!("../../config/tenants.yaml");
const SHIPPED_LISTEN: &str = "\nlisten: 127.0.0.1:6432\n";
const SHIPPED_STATEMENTS: &str = "\n  statements: refused\n";
const SHIPPED_LOG: &str = "\n  # file: veneer.log\n";
const SHIPPED_USERS: &str = "\nusers:\n";

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
            log: dir.join(LOG),
            services: dir.join("services"),
            listen_port,
            app: Login { user: APP_USER, password: APP_PASSWORD.to_owned() },
            admin: Login { user: ADMIN_USER, password: admin_password },
        };
        let tenants = dir.join(DIRECTORY);
        let ports: Vec<_> = shards.iter().map(|s| (s.name, s.cluster.port())).collect();
        for (path, text) in [
            (&tenants, directory(&ports)),
            (&papers.config, config(listen_port, shards)),
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

/// The shipped config with the demo's port, log and users.
fn config(listen_port: u16, shards: &[Shard]) -> String {
    let text = SHIPPED_CONFIG
        .replace(SHIPPED_LISTEN, &format!("\nlisten: 127.0.0.1:{listen_port}\n"))
        .replace(SHIPPED_STATEMENTS, "\n  statements: all\n")
        .replace(SHIPPED_LOG, &format!("\n  file: {LOG}\n"));
    let (before_users, _) = text.split_once(SHIPPED_USERS).unwrap_or((&text, ""));
    let mut text = format!("# Written by `veneer demo`, anew each time.\n{before_users}\nusers:\n");
    for (user, role) in [(APP_USER, APP_ROLE), (ADMIN_USER, ADMIN_ROLE)] {
        let _ = writeln!(
            text,
            "  {user}:\n    password: {{ file: {SECRETS}/{user} }}\n    tenants: all\n    \
             as: {{ user: {role} }}\n    as_shard:"
        );
        for Shard { name, .. } in shards {
            let _ =
                writeln!(text, "      {name}: {{ password: {{ file: {SECRETS}/{name}_{role} }} }}");
        }
    }
    text
}

/// The shipped directory with the ports that the demo's shards got.
fn directory(ports: &[(&str, u16)]) -> String {
    let mut text = SHIPPED_DIRECTORY.to_owned();
    for ((name, port), shipped) in ports.iter().zip(SHARD_PORTS) {
        let entry = |port: u16| format!("{name}: {{ host: 127.0.0.1, port: {port},");
        text = text.replace(&entry(shipped), &entry(*port));
    }
    format!("# Written by `veneer demo`, anew each time.\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::shard::SHARDS;
    use crate::directory::file;
    use crate::yaml::Mistakes;

    #[test]
    fn shipped_config_has_what_the_demo_replaces() {
        for part in [SHIPPED_LISTEN, SHIPPED_STATEMENTS, SHIPPED_LOG, SHIPPED_USERS] {
            assert_eq!(SHIPPED_CONFIG.matches(part).count(), 1, "{part:?}");
        }
    }

    #[test]
    fn directory_gets_the_ports_and_agrees_on_who_lives_where() {
        let text = directory(&[("shard1", 1001), ("shard2", 1002), ("shard3", 1003)]);
        let mut mistakes = Mistakes::new(Path::new("tenants.yaml"));
        let snapshot = file::parse(&text, &mut mistakes).unwrap();
        assert!(mistakes.is_empty(), "{mistakes}");
        assert_eq!(snapshot.home().name.as_str(), SHARDS[0].name);
        for (shard, port) in SHARDS.iter().zip([1001, 1002, 1003]) {
            assert_eq!(snapshot.shard(shard.name).unwrap().address.port, port);
            for tenant in shard.tenants {
                assert_eq!(snapshot.residence(tenant).unwrap().shard.name.as_str(), shard.name);
            }
        }
        let tenants: usize = SHARDS.iter().map(|shard| shard.tenants.len()).sum();
        assert_eq!(snapshot.tenants().len(), tenants);
    }
}
