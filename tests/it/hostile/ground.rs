//! A role and two tenants of a test's own, and an eye on what is left of them on each shard.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use crate::support::asked::{Mark, log_since, mark};
use crate::support::served::Wanted;
use crate::support::{direct, world};

/// What PostgreSQL logs of a client that does not speak its language.
const GARBLED: [&str; 5] = [
    "invalid message",
    "invalid frontend message type",
    "unexpected message type",
    "lost synchronization",
    "within message length word",
];

/// … and of one that leaves in the middle of a message; the second when it is cancelled as well.
const LEFT_AMID: [&str; 2] =
    ["incomplete message from client", "protocol synchronization was lost"];

/// Two of three shards, one of which is home to none of ours.
const PLACES: [(&str, &str); 2] = [("a", "shard2"), ("b", "shard3")];

/// `ROLE_a` and `ROLE_b`, each with a table `pairs` into which every transaction puts two rows,
/// 1 and 2.
pub struct Ground {
    pub role: &'static str,
    tenants: Vec<String>,
    /// On each shard, with what its log had when we came.
    eyes: Vec<(Client, Mark)>,
}

impl Ground {
    pub async fn make(role: &'static str) -> Self {
        let mut eyes = Vec::new();
        for shard in &world().demo.shards {
            let eye = direct(shard.cluster.superuser_config().dbname("bookstore")).await;
            let mut sql = format!(
                "CREATE ROLE {role} LOGIN PASSWORD '{}' IN ROLE bookstore_app;",
                shard.app_password
            );
            for (tenant, _) in PLACES.iter().filter(|(_, place)| *place == shard.name) {
                sql += &format!(
                    "CREATE SCHEMA {role}_{tenant};
                     GRANT USAGE ON SCHEMA {role}_{tenant} TO {role};
                     CREATE TABLE {role}_{tenant}.pairs (half int NOT NULL);
                     GRANT SELECT, INSERT ON {role}_{tenant}.pairs TO {role};"
                );
            }
            eye.batch_execute(&sql).await.unwrap();
            let mark = mark(&shard.cluster);
            eyes.push((eye, mark));
        }
        let tenants = PLACES.map(|(tenant, _)| format!("{role}_{tenant}")).to_vec();
        Self { role, tenants, eyes }
    }

    /// One backend for each shard. The line's patience is less than that with one who has gone
    /// silent, so that whoever is kept waiting by the dead is heard of.
    pub fn wanted(&self) -> Wanted {
        let wanted = Wanted::default().pool_size(1).wait_max("4s").user(self.role);
        let places = self.tenants.iter().zip(PLACES);
        places.fold(wanted, |wanted, (tenant, (_, shard))| wanted.tenant((tenant, shard, "active")))
    }

    /// A script with our names in the place of `tenant_a` and `tenant_b`.
    pub fn script(&self, script: &str) -> String {
        script.replace("tenant_", &format!("{}_", self.role))
    }

    /// How many pairs were committed. Half a transaction is none.
    pub async fn pairs(&self, after: &str) -> usize {
        let mut pairs = 0;
        for (tenant, (_, shard)) in self.tenants.iter().zip(PLACES) {
            let at = world().demo.shards.iter().position(|known| known.name == shard);
            let (eye, _) = &self.eyes[at.expect("it is one of three")];
            let sql = format!(
                "SELECT count(*), count(*) FILTER (WHERE half = 1), \
                 count(*) FILTER (WHERE half = 2) FROM {tenant}.pairs"
            );
            let row = eye.query_one(&sql, &[]).await.unwrap();
            let [all, first, second] = [0, 1, 2].map(|column| row.get::<_, i64>(column));
            assert!(first == second && first + second == all, "{after}: {all} {first} {second}");
            pairs += usize::try_from(first).unwrap();
        }
        pairs
    }

    /// Until nothing runs, nothing is locked, and no shard has more than the one backend.
    pub async fn until_quiet(&self, after: &str) {
        let sql = "SELECT count(*), count(*) FILTER (WHERE state <> 'idle'), \
                   (SELECT count(*) FROM pg_locks WHERE pid IN \
                   (SELECT pid FROM pg_stat_activity WHERE usename = $1)) \
                   FROM pg_stat_activity WHERE usename = $1";
        let deadline = Instant::now() + Duration::from_secs(15);
        for (eye, _) in &self.eyes {
            loop {
                let row = eye.query_one(sql, &[&self.role]).await.unwrap();
                let [backends, busy, locks] = [0, 1, 2].map(|column| row.get::<_, i64>(column));
                if backends <= 1 && busy == 0 && locks == 0 {
                    break;
                }
                let left = format!("{backends} backends, {busy} busy, {locks} locks");
                assert!(Instant::now() < deadline, "{after}: {left}");
                sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// No shard was told nonsense. Only one that was `streamed` a part of a message may have
    /// missed the rest, and then nothing else came in its place.
    pub fn check_logs(&self, streamed: bool) {
        for (shard, (_, mark)) in world().demo.shards.iter().zip(&self.eyes) {
            let log = log_since(&shard.cluster.log_path(), *mark);
            let whose = format!("] {}@", self.role);
            let mut lines = log.lines().filter(|line| line.contains(&whose)).peekable();
            assert!(lines.peek().is_some(), "{} has logged nothing of it", shard.name);
            for line in lines {
                // A text of the client's may say anything.
                let Some((_, said)) = line.split_once(&whose) else { continue };
                if said.contains(" LOG:  statement:") || said.contains(" STATEMENT:  ") {
                    continue;
                }
                assert!(!GARBLED.iter().any(|words| said.contains(words)), "{line}");
                assert!(streamed || !LEFT_AMID.iter().any(|words| said.contains(words)), "{line}");
            }
        }
    }
}
