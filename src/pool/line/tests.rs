//! Turns by table and at random; seats with waiters that leave at any moment.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::{JoinSet, yield_now};

use super::*;

fn party(name: &str) -> Party {
    (name != "-").then(|| SchemaName::stored(name).unwrap())
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// `a1` joins, `a1!` leaves, `.` is a turn; the answer is who has had them.
fn check(script: &str, expected: &str) {
    let mut turns = Turns::default();
    let mut tickets = HashMap::new();
    let mut had = Vec::new();
    for word in script.split_whitespace() {
        if word == "." {
            had.push(turns.next().unwrap_or("nobody"));
        } else if let Some(name) = word.strip_suffix('!') {
            assert_eq!(turns.leave(&party(&name[..1]), tickets[name]), Some(name), "{script}");
        } else {
            tickets.insert(word, turns.join(party(&word[..1]), word));
        }
    }
    assert_eq!(had.join(" "), expected, "{script}");
    if turns.parties.is_empty() {
        assert!(turns.order.is_empty(), "{script}: {turns:?}");
    }
}

#[test]
fn tenants_take_turns() {
    check(".", "nobody");
    check("a1 a2 a3 . . . .", "a1 a2 a3 nobody");
    check("a1 a2 a3 b1 b2 . . . . .", "a1 b1 a2 b2 a3");
    check("a1 a2 a3 b1 c1 c2 . . . . . .", "a1 b1 c1 a2 c2 a3");
    // Those without a tenant are one party.
    check("-1 -2 -3 a1 a2 . . . . .", "-1 a1 -2 a2 -3");
}

#[test]
fn a_newcomer_goes_before_the_last_turn() {
    check("a1 a2 a3 . b1 . b2 . b3 .", "a1 b1 a2 b2");
    check("a1 a2 . b1 c1 . . .", "a1 b1 c1 a2");
    // Only one such turn: who comes after the next one is behind.
    check("a1 a2 . b1 . c1 . .", "a1 b1 a2 c1");
    check("a1 a2 c1 c2 . b1 . . . .", "a1 c1 b1 a2 c2");
}

#[test]
fn who_leaves_leaves_nothing() {
    check("a1 a1! .", "nobody");
    check("a1 a2 a3 b1 a1! . . .", "a2 b1 a3");
    check("a1 a2 b1 b1! c1 . . .", "a1 c1 a2");
    check("a1 a2 a3 b1 . b1! . .", "a1 a2 a3");
    // Also who has had the last turn.
    check("a1 a2 b1 . a2! b2 . . .", "a1 b1 b2 nobody");
    check("a1 a2 . a2! b1 a3 . .", "a1 b1 a3");
    check("a1 a2 . a2! .", "a1 nobody");
}

#[test]
fn nobody_is_passed_twice_by_the_same_tenant() {
    let mut random = Random(1);
    for round in 0..200 {
        let parties = 2 + random.below(6);
        let mut turns = Turns::default();
        // By waiter: who has been before it while its tenant waited and had no turn.
        let mut passed: HashMap<u64, HashMap<u64, u32>> = HashMap::new();
        let mut waiting: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        for number in 0..500 {
            let tenant = random.below(parties);
            let name = party(&tenant.to_string());
            let of_tenant = waiting.entry(tenant).or_default();
            match random.below(8) {
                0..=3 => of_tenant.push((turns.join(name, (tenant, number)), number)),
                4 if !of_tenant.is_empty() => {
                    let at = usize::try_from(random.below(of_tenant.len() as u64)).unwrap();
                    let (ticket, number) = of_tenant.remove(at);
                    assert_eq!(turns.leave(&name, ticket), Some((tenant, number)));
                    assert_eq!(turns.leave(&name, ticket), None);
                }
                _ => {
                    let Some((tenant, number)) = turns.next() else {
                        assert!(waiting.values().all(Vec::is_empty), "round {round}");
                        continue;
                    };
                    // First come, first served.
                    assert_eq!(waiting.get_mut(&tenant).unwrap().remove(0).1, number);
                    passed.remove(&tenant);
                    for (other, _) in waiting.iter().filter(|(_, queue)| !queue.is_empty()) {
                        let times = passed.entry(*other).or_default().entry(tenant).or_default();
                        *times += u32::from(*other != tenant);
                        assert!(*times <= 1, "round {round}: {tenant} has passed {other} twice");
                    }
                }
            }
            passed.retain(|tenant, _| waiting.get(tenant).is_some_and(|queue| !queue.is_empty()));
            let lengths: usize = turns.parties.values().map(|queue| queue.waiters.len()).sum();
            assert_eq!(lengths, waiting.values().map(Vec::len).sum::<usize>());
            assert_eq!(turns.parties.len(), turns.order.len());
        }
    }
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_seat_for_somebody_who_left_goes_to_the_next() {
    let line = Arc::new(Line::new(1));
    let seat = line.free_seat().unwrap();
    assert!(line.free_seat().is_none());
    let (a, b) = (party("a"), party("b"));
    let mut first = Box::pin(line.seat(a.as_ref()));
    let mut second = Box::pin(line.seat(b.as_ref()));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drop(seat);
    // It was called, and is gone before it hears.
    drop(first);
    let Poll::Ready(seat) = poll(&mut second) else { panic!("the seat is lost") };
    drop(second);
    assert!(line.free_seat().is_none());
    drop(seat);
    assert!(line.free_seat().is_some());
}

#[test]
fn random_waiters_lose_no_seat() {
    const SEATS: u64 = 3;
    let names = ["a", "b", "c", "-"].map(party);
    for seed in 0..100 {
        let mut random = Random(seed);
        let line = Arc::new(Line::new(3));
        let (mut waiters, mut seats) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            match random.below(5) {
                0 | 1 => {
                    let at = usize::try_from(random.below(names.len() as u64)).unwrap();
                    let mut waiter = Box::pin(line.seat(names[at].as_ref()));
                    match poll(&mut waiter) {
                        Poll::Ready(seat) => seats.push(seat),
                        Poll::Pending => waiters.push(waiter),
                    }
                }
                2 if !waiters.is_empty() => {
                    let at = random.below(waiters.len() as u64);
                    drop(waiters.swap_remove(usize::try_from(at).unwrap()));
                }
                3 if !seats.is_empty() => {
                    let at = random.below(seats.len() as u64);
                    drop(seats.swap_remove(usize::try_from(at).unwrap()));
                }
                _ => waiters.retain_mut(|waiter| match poll(waiter) {
                    Poll::Ready(seat) => {
                        seats.push(seat);
                        false
                    }
                    Poll::Pending => true,
                }),
            }
            assert!(seats.len() as u64 <= SEATS, "seed {seed}");
        }
        drop((waiters, seats));
        let state = line.lock();
        assert_eq!(state.free as u64, SEATS, "seed {seed}");
        assert!(state.turns.parties.is_empty() && state.turns.order.is_empty(), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_that_are_killed_on_two_threads_lose_no_seat() {
    const SEATS: usize = 2;
    let line = Arc::new(Line::new(SEATS));
    let mut random = Random(7);
    let mut waiters = JoinSet::new();
    let mut handles = Vec::new();
    for number in 0..5_000 {
        let line = line.clone();
        handles.push(waiters.spawn(async move {
            let _seat = line.seat(party(["a", "b", "c"][number % 3]).as_ref()).await;
            yield_now().await;
        }));
        if random.below(2) == 0 {
            let at = random.below(handles.len() as u64);
            handles.swap_remove(usize::try_from(at).unwrap()).abort();
        }
        if random.below(16) == 0 {
            yield_now().await;
        }
    }
    while waiters.join_next().await.is_some() {}
    let state = line.lock();
    assert_eq!(state.free, SEATS);
    assert!(state.turns.parties.is_empty() && state.turns.order.is_empty());
}

/// Whose turns they were, until the only client of `b` has had so many, against fifty of `a`.
async fn turns_until(seats: usize, of_b: usize) -> Vec<&'static str> {
    let line = Arc::new(Line::new(seats));
    let had = Arc::new(Mutex::new(Vec::new()));
    let mut clients = JoinSet::new();
    let turn = {
        let had = had.clone();
        move |name: &'static str| {
            let (line, had) = (line.clone(), had.clone());
            async move {
                let _seat = line.seat(party(name).as_ref()).await;
                had.lock().unwrap().push(name);
                yield_now().await;
            }
        }
    };
    for _ in 0..50 {
        let turn = turn.clone();
        clients.spawn(async move {
            loop {
                turn("a").await;
            }
        });
    }
    yield_now().await;
    for _ in 0..of_b {
        turn("b").await;
    }
    clients.shutdown().await;
    let had = had.lock().unwrap();
    had.clone()
}

#[tokio::test]
async fn one_client_against_fifty() {
    // (seats, turns of the others between two of the one): a seat that it gives back while others
    // wait is theirs, and so is each of the others meanwhile.
    for (seats, between_max) in [(1, 1), (2, 3), (4, 7)] {
        let had = turns_until(seats, 1_000).await;
        let at: Vec<usize> = (0..had.len()).filter(|at| had[*at] == "b").collect();
        assert_eq!(at.len(), 1_000);
        let between = at.windows(2).map(|pair| pair[1] - pair[0] - 1).max();
        assert!(between.unwrap() <= between_max, "{seats} seats: {between:?} turns");
    }
}
