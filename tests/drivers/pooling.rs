//! Many clients on few backends.

use std::collections::HashSet;

use tokio::task::JoinSet;

use crate::support::{direct, world};
use crate::veneer::Veneer;

const CLIENTS: usize = 200;
const BACKENDS_MAX: usize = 5;
const TRANSACTIONS: i64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_over_five_backends() {
    let shard = direct(&world().shard(2).admin_config()).await;
    shard
        .batch_execute(
            "CREATE TABLE cyberdyne.pooled (client int PRIMARY KEY, done int NOT NULL);
             INSERT INTO cyberdyne.pooled SELECT n, 0 FROM generate_series(0, 199) n",
        )
        .await
        .unwrap();
    let veneer = Veneer::start("five", BACKENDS_MAX);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = veneer.tenant("cyberdyne").await;
        clients.push(tokio::spawn(async move {
            let number = i32::try_from(number).unwrap();
            let mut pids = HashSet::new();
            for _ in 0..TRANSACTIONS {
                let transaction = client.transaction().await.unwrap();
                let add = "UPDATE pooled SET done = done + 1 WHERE client = $1";
                assert_eq!(transaction.execute(add, &[&number]).await.unwrap(), 1);
                let row = transaction.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
                pids.insert(row.get::<_, i32>(0));
                transaction.commit().await.unwrap();
            }
            // Still connected while the others work.
            (client, pids)
        }));
    }
    let mut connected = Vec::new();
    let mut pids = HashSet::new();
    for client in clients {
        let (client, used) = client.await.unwrap();
        connected.push(client);
        pids.extend(used);
    }
    assert!(pids.len() <= BACKENDS_MAX, "{} backends", pids.len());
    let (done, least): (i64, i32) = {
        let row = shard.query_one("SELECT sum(done), min(done) FROM cyberdyne.pooled", &[]).await;
        let row = row.unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!((done, i64::from(least)), (TRANSACTIONS * CLIENTS as i64, TRANSACTIONS));
}

/// A tenant with fifty busy clients and one with a single client, on two backends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_tenant_leaves_others_their_turns() {
    const BUSY: usize = 50;
    const TURNS: i64 = 25;
    /// For one of the single client's: 2 with nothing else to do, and 50 without fairness.
    const TURNS_BETWEEN_MAX: i64 = 12;
    let shard = direct(&world().shard(2).admin_config()).await;
    shard
        .batch_execute(
            "CREATE TABLE cyberdyne.turns (n int); CREATE TABLE dunder_mifflin.turns (n int)",
        )
        .await
        .unwrap();
    // Much longer than a client takes to come back.
    let turn = "INSERT INTO turns SELECT 1 FROM pg_sleep(0.02)";
    let count = "SELECT count(*) FROM cyberdyne.turns";
    let had = || async { shard.query_one(count, &[]).await.unwrap().get::<_, i64>(0) };
    let veneer = Veneer::start("fair", 2);
    let single = veneer.tenant("dunder_mifflin").await;
    let mut busy = JoinSet::new();
    for _ in 0..BUSY {
        let client = veneer.tenant("cyberdyne").await;
        busy.spawn(async move {
            loop {
                client.batch_execute(turn).await.unwrap();
            }
        });
    }
    while had().await < 10 {}
    let before = had().await;
    for _ in 0..TURNS {
        single.batch_execute(turn).await.unwrap();
    }
    let between = had().await - before;
    assert!(between <= TURNS * TURNS_BETWEEN_MAX, "{between} turns for {TURNS}");
    busy.shutdown().await;
}
