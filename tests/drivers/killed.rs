//! A client that dies at a bad moment leaves no lock, no query and no lost backend: the pool has
//! only one, and serves the next client from it.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use crate::support::{direct, world};
use crate::veneer::{Veneer, mortal, until_active, until_equal};

const ROUNDS: usize = 3;
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass($1)";

async fn table() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let shard = direct(&world().shard(3).admin_config()).await;
        shard
            .batch_execute(
                "CREATE TABLE initech.mortal (id int PRIMARY KEY, word text);
                 INSERT INTO initech.mortal VALUES (1, 'kept');
                 CREATE TABLE initech.mortal_copy (id int);
                 CREATE TABLE initech.mortal_wide AS
                     SELECT repeat('x', 1000) AS word FROM generate_series(1, 20000)",
            )
            .await
            .unwrap();
    })
    .await;
}

/// A veneer with one backend, and a superuser's eye on the shard's tables.
async fn stage(name: &str) -> (Veneer, Client) {
    table().await;
    let mut superuser = world().shard(3).cluster.superuser_config();
    (Veneer::start(name, 1), direct(superuser.dbname("bookstore")).await)
}

/// The only backend works, and the row is as it was and free.
async fn is_served(veneer: &Veneer) {
    let mut heir = veneer.tenant("initech").await;
    let transaction = heir.transaction().await.unwrap();
    let sql = "SELECT word FROM mortal WHERE id = 1 FOR UPDATE";
    let row = transaction.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "kept");
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn mid_query() {
    let (veneer, shard) = stage("killed-query").await;
    for _ in 0..ROUNDS {
        let (client, life) = mortal(veneer.app().options("-c search_path=initech")).await;
        let query = tokio::spawn(async move {
            client.batch_execute("SELECT pg_sleep(600) /* killed mid query */").await
        });
        until_active(&shard, "killed mid query", 1).await;
        life.abort();
        is_served(&veneer).await;
        assert!(query.await.unwrap().is_err());
        until_active(&shard, "killed mid query", 0).await;
    }
}

#[tokio::test]
async fn mid_transaction() {
    let (veneer, shard) = stage("killed-transaction").await;
    for _ in 0..ROUNDS {
        let (client, life) = mortal(veneer.app().options("-c search_path=initech")).await;
        client
            .batch_execute("BEGIN; UPDATE mortal SET word = 'lost' WHERE id = 1; SAVEPOINT a")
            .await
            .unwrap();
        life.abort();
        is_served(&veneer).await;
        until_equal(&shard, LOCKS, "initech.mortal", 0).await;
    }
}

#[tokio::test]
async fn mid_statement_in_a_transaction() {
    let (veneer, shard) = stage("killed-both").await;
    for _ in 0..ROUNDS {
        let (client, life) = mortal(veneer.app().options("-c search_path=initech")).await;
        client.batch_execute("BEGIN; UPDATE mortal SET word = 'lost'").await.unwrap();
        let query = tokio::spawn(async move {
            client.query("SELECT pg_sleep(600) /* killed in transaction */", &[]).await
        });
        until_active(&shard, "killed in transaction", 1).await;
        life.abort();
        is_served(&veneer).await;
        assert!(query.await.unwrap().is_err());
        until_equal(&shard, LOCKS, "initech.mortal", 0).await;
    }
}

#[tokio::test]
async fn mid_copy_in() {
    let (veneer, shard) = stage("killed-copy-in").await;
    for _ in 0..ROUNDS {
        let (client, life) = mortal(veneer.app().options("-c search_path=initech")).await;
        let sink = client.copy_in::<_, Bytes>("COPY mortal_copy FROM STDIN").await.unwrap();
        let mut sink = Box::pin(sink);
        for _ in 0..50 {
            sink.send(Bytes::from_static(b"7\n")).await.unwrap();
        }
        until_active(&shard, "COPY mortal_copy FROM STDIN", 1).await;
        life.abort();
        is_served(&veneer).await;
        until_equal(&shard, LOCKS, "initech.mortal_copy", 0).await;
        let heir = veneer.tenant("initech").await;
        let row = heir.query_one("SELECT count(*) FROM mortal_copy", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn mid_copy_out_that_nobody_reads() {
    let (veneer, shard) = stage("killed-copy-out").await;
    for _ in 0..ROUNDS {
        let (client, life) = mortal(veneer.app().options("-c search_path=initech")).await;
        let stream = client.copy_out("COPY mortal_wide TO STDOUT").await.unwrap();
        let mut stream = Box::pin(stream);
        stream.next().await.unwrap().unwrap();
        life.abort();
        is_served(&veneer).await;
        until_equal(&shard, LOCKS, "initech.mortal_wide", 0).await;
    }
}

#[tokio::test]
async fn while_they_wait_in_line() {
    let (veneer, _) = stage("killed-in-line").await;
    let holder = veneer.tenant("initech").await;
    holder.batch_execute("BEGIN; SELECT FROM mortal").await.unwrap();
    let mut waiters = Vec::new();
    for _ in 0..10 {
        let (client, life) = mortal(veneer.app().options("-c search_path=initech")).await;
        let query = tokio::spawn(async move { client.batch_execute("SELECT FROM mortal").await });
        waiters.push((query, life));
    }
    // Whether a request has got as far as the line or not must not matter.
    for (query, life) in waiters {
        life.abort();
        assert!(query.await.unwrap().is_err());
    }
    holder.batch_execute("COMMIT").await.unwrap();
    is_served(&veneer).await;
}
