//! CancelRequest stops the query of that session only.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls};

use crate::support::{direct, world};
use crate::veneer::{Veneer, until_active};

const CANCELLED: &str = "57014";
const CANCEL_REQUEST: u32 = 80_877_102;

#[track_caller]
fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    outcome.expect_err("it was to fail").code().expect("an answer of PostgreSQL").code().to_owned()
}

/// Runs until it is cancelled.
fn sleep(client: &Arc<Client>, marker: &str) -> JoinHandle<Result<(), Error>> {
    let client = client.clone();
    let sql = format!("SELECT pg_sleep(600) /* {marker} */");
    tokio::spawn(async move { client.batch_execute(&sql).await })
}

async fn cancel(client: &Client) {
    client.cancel_token().cancel_query(NoTls).await.unwrap();
}

async fn is_well(client: &Client) {
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn a_session_cancels_its_own_query_and_no_other() {
    let veneer = Veneer::start("cancel", 5);
    let shard = direct(&world().shard(2).cluster.superuser_config()).await;
    let mine = Arc::new(veneer.tenant("cyberdyne").await);
    let theirs = Arc::new(veneer.tenant("dunder_mifflin").await);
    let my_sleep = sleep(&mine, "cancel mine");
    let their_sleep = sleep(&theirs, "cancel theirs");
    until_active(&shard, "cancel mine", 1).await;
    until_active(&shard, "cancel theirs", 1).await;

    cancel(&mine).await;
    assert_eq!(code(my_sleep.await.unwrap()), CANCELLED);
    until_active(&shard, "cancel mine", 0).await;
    until_active(&shard, "cancel theirs", 1).await;
    is_well(&mine).await;
    // Idle, again and again: nobody is hit.
    for _ in 0..20 {
        cancel(&mine).await;
        is_well(&mine).await;
    }
    assert!(!their_sleep.is_finished());
    until_active(&shard, "cancel theirs", 1).await;

    cancel(&theirs).await;
    assert_eq!(code(their_sleep.await.unwrap()), CANCELLED);
    is_well(&theirs).await;
}

#[tokio::test]
async fn a_cancelled_transaction_fails_and_can_be_rolled_back() {
    let veneer = Veneer::start("cancel-transaction", 1);
    let shard = direct(&world().shard(3).cluster.superuser_config()).await;
    let client = Arc::new(veneer.tenant("initech").await);
    client.batch_execute("BEGIN; SELECT count(*) FROM authors").await.unwrap();
    let asleep = sleep(&client, "cancel in transaction");
    until_active(&shard, "cancel in transaction", 1).await;
    cancel(&client).await;
    assert_eq!(code(asleep.await.unwrap()), CANCELLED);
    assert_eq!(code(client.batch_execute("SELECT 1").await), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    is_well(&client).await;
}

/// The key of a session that has given its backend back no longer leads there.
#[tokio::test]
async fn an_idle_session_cannot_cancel_whoever_has_its_backend_now() {
    let veneer = Veneer::start("cancel-one", 1);
    let shard = direct(&world().shard(2).cluster.superuser_config()).await;
    let before = veneer.tenant("cyberdyne").await;
    let now = Arc::new(veneer.tenant("dunder_mifflin").await);
    let pid = "SELECT pg_backend_pid() FROM authors LIMIT 1";
    let pid_before: i32 = before.query_one(pid, &[]).await.unwrap().get(0);
    let pid_now: i32 = now.query_one(pid, &[]).await.unwrap().get(0);
    assert_eq!(pid_before, pid_now);
    let asleep = sleep(&now, "cancel by another");
    until_active(&shard, "cancel by another", 1).await;
    for _ in 0..10 {
        cancel(&before).await;
    }
    until_active(&shard, "cancel by another", 1).await;
    assert!(!asleep.is_finished());
    cancel(&now).await;
    assert_eq!(code(asleep.await.unwrap()), CANCELLED);
    is_well(&before).await;
}

#[tokio::test]
async fn a_wrong_key_is_met_with_silence() {
    let veneer = Veneer::start("cancel-wrong", 1);
    let shard = direct(&world().shard(3).cluster.superuser_config()).await;
    let client = Arc::new(veneer.tenant("initech").await);
    let asleep = sleep(&client, "cancel by guessing");
    until_active(&shard, "cancel by guessing", 1).await;
    // Sessions are counted from 1; one chance in four thousand million to guess a secret.
    for process in 0_u32..8 {
        let mut socket = TcpStream::connect(("127.0.0.1", veneer.port)).await.unwrap();
        let words = [16, CANCEL_REQUEST, process, 0x5eed_5eed];
        let request: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        socket.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty(), "process {process}");
    }
    until_active(&shard, "cancel by guessing", 1).await;
    cancel(&client).await;
    assert_eq!(code(asleep.await.unwrap()), CANCELLED);
}

#[tokio::test]
async fn a_cancel_is_heard_in_line() {
    let veneer = Veneer::start("cancel-in-line", 1);
    let holder = veneer.tenant("initech").await;
    holder.batch_execute("BEGIN; SELECT count(*) FROM authors").await.unwrap();
    let waiter = Arc::new(veneer.tenant("initech").await);
    let asleep = sleep(&waiter, "cancelled in line");
    // Whether it has got as far as the line when the first cancel comes or not.
    while !asleep.is_finished() {
        cancel(&waiter).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(code(asleep.await.unwrap()), CANCELLED);
    holder.batch_execute("COMMIT").await.unwrap();
    is_well(&waiter).await;
}
