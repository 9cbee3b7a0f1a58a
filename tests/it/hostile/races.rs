//! Cancels that arrive as the one backend changes hands: they never hit whoever has it now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Victim;
use crate::support::message::first_packet;
use crate::support::wire::Wire;

/// How often the client that is aimed at has the backend; more often when this variable says so.
const ROUNDS: usize = 250;
const ROUNDS_VARIABLE: &str = "VENEER_TEST_CANCELS";

/// Sockets that cancel at once.
const CANCELLERS: usize = 2;

const CANCELLED: &str = " C=57014 ";

const CANCEL: u32 = 80_877_102;

/// Asks while `goes_on` says so; gives how many answers there were, and how many of them said that
/// the query was cancelled.
async fn talk(
    wire: &mut Wire,
    script: &str,
    row: &str,
    goes_on: impl Fn(usize) -> bool,
) -> (usize, usize) {
    let (mut answers, mut cancelled) = (0, 0);
    while goes_on(answers) {
        let told = wire.play(script).await;
        answers += 1;
        if told.contains(CANCELLED) {
            cancelled += 1;
        } else {
            assert!(told.contains(row) && !told.contains("ErrorResponse"), "{told}");
        }
    }
    (answers, cancelled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_as_the_backend_changes_hands() {
    let mut victim = Victim::new().await;
    let rounds = std::env::var(ROUNDS_VARIABLE).ok();
    let rounds = rounds.map_or(ROUNDS, |count| count.parse().expect("a number"));
    let over = Arc::new(AtomicBool::new(false));
    let door = |tenant: &str| victim.veneer.door("app").with("search_path", tenant);
    let mut aim = door("cyberdyne").open().await;
    let key = aim.greeting.iter().find(|frame| frame.tag == b'K').expect("a key").body.to_vec();
    let mut others = JoinSet::new();
    for script in [
        "Query SELECT current_schema(), count(*) FROM authors",
        "Parse - - SELECT current_schema(), count(*) FROM authors\nBind - -\nExecute - 0\nSync",
        "Query BEGIN\n\nQuery SELECT current_schema(), count(*) FROM authors\n\nQuery COMMIT",
    ] {
        let (over, mut wire) = (over.clone(), door("dunder_mifflin").open().await);
        others.spawn(async move {
            let goes_on = |_| !over.load(Ordering::Relaxed);
            talk(&mut wire, script, "DataRow dunder_mifflin | 7", goes_on).await
        });
    }
    let mut cancellers = JoinSet::new();
    for _ in 0..CANCELLERS {
        let (over, port) = (over.clone(), victim.veneer.port);
        let bytes = first_packet(CANCEL, &key);
        cancellers.spawn(async move {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                let mut cancel = Wire::connect(port).await;
                cancel.send(&bytes).await;
                assert_eq!(cancel.read_on().await, "closed\n");
                sent += 1;
                // More of them would only keep the others from work.
                sleep(Duration::from_micros(500)).await;
            }
            sent
        });
    }
    // What the cancels are meant for: often short, at times long enough to be hit.
    let script = "Query SELECT current_schema(), count(*), pg_sleep(random() * 0.001) FROM authors\n\n\
                  Parse - - SELECT current_schema(), count(*) FROM authors\nBind - -\nExecute - 0\nSync";
    let goes_on = |answers| answers < rounds;
    let (asked, hit) = talk(&mut aim, script, "DataRow cyberdyne | 7", goes_on).await;
    over.store(true, Ordering::Relaxed);
    let mut cancels = 0;
    while let Some(done) = cancellers.join_next().await {
        cancels += done.expect("a cancel is met with silence");
    }
    let mut answers = 0;
    while let Some(other) = others.join_next().await {
        let (answered, cancelled) = other.expect("the others notice nothing");
        assert_eq!(cancelled, 0, "a cancel has hit another client");
        answers += answered;
    }
    println!("{cancels} cancels: {hit} of {asked} hit, {answers} answers of others");
    assert!(0 < hit, "none of {asked} was hit: no race");
    assert!(
        rounds <= answers && rounds <= cancels,
        "{answers} answers, {cancels} cancels: no race"
    );
    victim.check_unhurt("cancels as the backend changes hands").await;
}
