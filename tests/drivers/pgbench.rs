//! pgbench in its three query modes, on two tenants of two shards at once.

use std::fs;
use std::process::Command;

use crate::support::{direct, temporary_directory, world};
use crate::veneer::shared;

const MODES: [&str; 3] = ["simple", "extended", "prepared"];
const CLIENTS: &str = "4";
const TRANSACTIONS: &str = "50";

fn pgbench(arguments: &[&str]) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("pgbench"));
    // Debian keeps it beside the server's programs in some versions.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin/pgbench"));
    let program = on_path.chain(installed).find(|path| path.exists());
    let mut command = Command::new(program.expect("pgbench is missing; run: tests/setup.sh"));
    command.args(arguments);
    command
}

#[track_caller]
fn all_succeeded(said: &str, transactions: usize) {
    let wanted =
        format!("number of transactions actually processed: {transactions}/{transactions}\n");
    assert!(said.contains(&wanted), "{said}");
    assert!(said.contains("number of failed transactions: 0 (0.000%)"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_modes_on_two_tenants_at_once() {
    for (shard, tenant) in [(2, "cyberdyne"), (3, "initech")] {
        let shard = direct(&world().shard(shard).admin_config()).await;
        let sql = format!(
            "CREATE TABLE {tenant}.benched (id int PRIMARY KEY, n int NOT NULL);
             INSERT INTO {tenant}.benched SELECT id, 0 FROM generate_series(1, 100) id"
        );
        shard.batch_execute(&sql).await.unwrap();
    }
    let (directory, _remover) = temporary_directory("pgbench");
    let qualified = |tenant: &str| {
        let path = directory.join(tenant);
        let script = format!(
            "\\set id random(1, 100)\n\
             SELECT n FROM {tenant}.benched WHERE id = :id;\n\
             BEGIN;\n\
             UPDATE {tenant}.benched SET n = n + 1 WHERE id = :id;\n\
             SELECT n, 1 / (n > 0)::int AS positive FROM {tenant}.benched WHERE id = :id \\gset\n\
             END;\n"
        );
        fs::write(&path, script).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, other) = (qualified("cyberdyne"), qualified("initech"));
    let by_path = directory.join("by_path");
    let script = "\\set id random(1, 100)\n\
                  SELECT n FROM benched WHERE id = :id;\n\
                  UPDATE benched SET n = n + 1 WHERE id = :id;\n";
    fs::write(&by_path, script).unwrap();
    let by_path = by_path.to_str().unwrap();

    let arguments = ["-n", "-j", "2", "-c", CLIENTS, "-t", TRANSACTIONS];
    for mode in MODES {
        let said = shared().run(pgbench(&arguments).args(["-M", mode, "-f", &one, "-f", &other]));
        all_succeeded(&said, 200);
        let said = shared().run(
            pgbench(&arguments)
                .args(["-M", mode, "-f", by_path])
                .env("PGOPTIONS", "-c search_path=initech"),
        );
        all_succeeded(&said, 200);
    }
    // Every transaction has added one, somewhere.
    let mut sum = 0_i64;
    for (shard, tenant) in [(2, "cyberdyne"), (3, "initech")] {
        let shard = direct(&world().shard(shard).admin_config()).await;
        let sql = format!("SELECT sum(n) FROM {tenant}.benched");
        sum += shard.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0);
    }
    assert_eq!(sum, 3 * (200 + 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_bank_in_a_tenants_schema() {
    let admin = world().demo.papers.admin.clone();
    let tenant = ("PGOPTIONS", "-c search_path=dunder_mifflin");
    let admins = |arguments: &[&str]| {
        let mut command = Command::new("env");
        // Our caller sets the application's login; `env` has the last word.
        command.arg(format!("PGUSER={}", admin.user)).arg(format!("PGPASSWORD={}", admin.password));
        let pgbench = pgbench(arguments);
        command.arg(pgbench.get_program()).args(pgbench.get_args()).env(tenant.0, tenant.1);
        command
    };
    // Creates, copies in, adds keys and vacuums; foreign keys cost another second.
    shared().run(&mut admins(&["-i", "-q", "-I", "dtgvp"]));
    for mode in MODES {
        let arguments = ["-n", "-j", "2", "-c", CLIENTS, "-t", TRANSACTIONS, "-M", mode];
        let said =
            shared().run(pgbench(&arguments).args(["-b", "tpcb-like"]).env(tenant.0, tenant.1));
        all_succeeded(&said, 200);
        let said =
            shared().run(pgbench(&arguments).args(["-b", "select-only"]).env(tenant.0, tenant.1));
        all_succeeded(&said, 200);
    }
    let shard =
        direct(world().shard(2).admin_config().options("-c search_path=dunder_mifflin")).await;
    let sql = "SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts),
                      sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers),
                      sum(delta) = (SELECT sum(bbalance) FROM pgbench_branches)
               FROM pgbench_history";
    let row = shard.query_one(sql, &[]).await.unwrap();
    let balanced: [bool; 3] = [row.get(1), row.get(2), row.get(3)];
    assert_eq!((row.get::<_, i64>(0), balanced), (600, [true; 3]));
}
