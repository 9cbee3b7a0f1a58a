//! Prepared statements over few backends: of many tenants, of many clients, and too many of them.

use std::time::{Duration, Instant};

use super::make_schema;
use crate::support::message::{bind, close, execute, parse, query, sync};
use crate::support::served::{TENANTS, Tenant, Veneer, Wanted};
use crate::support::transcript::Transcript;
use crate::support::wire::{Until, Wire};
use crate::support::{direct, world};

const TENANTS_MANY: usize = 100;

async fn say(wire: &mut Wire, bytes: &[u8]) -> String {
    let mut told = Transcript::default();
    wire.talk(bytes, Until::Ready(1), &mut told).await;
    told.finish()
}

/// The same text for a hundred tenants over one backend; their tables change, and they move.
#[tokio::test]
async fn one_text_and_a_hundred_tenants() {
    let names: Vec<String> = (0..TENANTS_MANY).map(|n| format!("many_{n}")).collect();
    for shard in [2, 3] {
        let admin = direct(&world().shard(shard).admin_config()).await;
        for name in &names {
            let sql = format!(
                "CREATE SCHEMA {name}; GRANT USAGE ON SCHEMA {name} TO bookstore_app;
                 CREATE TABLE {name}.place AS SELECT '{name} on shard{shard}' AS here;
                 GRANT SELECT ON {name}.place TO bookstore_app"
            );
            admin.batch_execute(&sql).await.unwrap();
        }
    }
    let wanted = names.iter().fold(Wanted::default().pool_size(1), |wanted, name| {
        wanted.tenant((name, "shard2", "active"))
    });
    let veneer = wanted.start().await;
    let mut mover = veneer.door("app").open().await;
    let mut other = veneer.door("app").open().await;
    mover.play("Query SET search_path = many_0\n\nParse s - SELECT * FROM place\nSync").await;
    other
        .play("Query SET search_path = many_1\n\nParse s - SELECT count(*) FROM place\nSync")
        .await;
    let on = |name: &str, shard: usize| format!("DataRow {name} on shard{shard}");
    for (number, name) in names.iter().enumerate() {
        let told = mover
            .play(&format!(
                "Query SET search_path = {name}\n\nBind - s\nDescribe P -\nExecute - 0\nSync"
            ))
            .await;
        assert!(told.contains(&format!("{}\n", on(name, 2))), "{told}");
        assert_eq!(told.matches("DataRow").count(), 1, "{told}");
        let told = other
            .play(&format!(
                "Query SET search_path = {}\n\nBind - s\nExecute - 0\nSync",
                names[99 - number]
            ))
            .await;
        assert!(told.contains("DataRow 1\n"), "{told}");
    }
    // Every third table gets another column.
    let admin = direct(&world().shard(2).admin_config()).await;
    for name in names.iter().step_by(3) {
        let sql = format!("ALTER TABLE {name}.place ADD COLUMN more text DEFAULT 'wider'");
        admin.batch_execute(&sql).await.unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        let run = "Bind - s\nDescribe P -\nExecute - 0\nSync";
        let mut told = mover.play(&format!("Query SET search_path = {name}\n\n{run}")).await;
        if number % 3 == 0 {
            // As PostgreSQL says it of a plan from before the change; drivers prepare again.
            assert!(told.contains(" | wider\n") || told.contains("C=0A000"), "{told}");
            let again = "Close S s\nParse s - SELECT * FROM place\n";
            told = mover.play(&format!("{again}{run}")).await;
            assert!(told.contains(&format!("{} | wider\n", on(name, 2))), "{told}");
        } else {
            assert!(told.contains(&format!("{}\n", on(name, 2))), "{told}");
        }
    }
    // They move, all but every fourth.
    let stays = |number: usize| number.is_multiple_of(4);
    let place = |number: usize| if stays(number) { "shard2" } else { "shard3" };
    let listed = names.iter().enumerate().map(|(n, name)| (name.as_str(), place(n), "active"));
    let tenants: Vec<Tenant<'_>> = TENANTS.into_iter().chain(listed).collect();
    veneer.write_directory(&tenants);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !other.query("SELECT here FROM many_99.place").await.contains("on shard3") {
        assert!(Instant::now() < deadline, "the move was never noticed");
    }
    mover.play("Close S s\nParse s - SELECT here FROM place\nSync").await;
    for (number, name) in names.iter().enumerate() {
        let told = mover
            .play(&format!("Query SET search_path = {name}\n\nBind - s\nExecute - 0\nSync"))
            .await;
        let shard = if stays(number) { 2 } else { 3 };
        assert!(told.contains(&format!("{}\n", on(name, shard))), "{told}");
        let told = other.play("Bind - s\nExecute - 0\nSync").await;
        assert!(told.contains("DataRow 1\n"), "{told}");
    }
}

/// Two clients call different texts by the same names, on one backend.
#[tokio::test]
async fn the_same_names_for_different_texts() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let door = veneer.door("app").with("search_path", "cyberdyne");
    let mut wires = [door.open().await, door.open().await, door.open().await];
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.play(&format!(
            "Parse s - SELECT {number}, count(*) FROM authors\nParse - - SELECT 'unnamed {number}', $1::int\nSync"
        ))
        .await;
    }
    for turn in 0..30 {
        let number = turn * 7 % 3;
        let wire = &mut wires[number];
        let told = wire.play("Bind - s\nExecute - 0\nSync").await;
        assert!(told.contains(&format!("DataRow {number} | 7\n")), "{told}");
        let told = wire.play("Bind - - 5\nExecute - 0\nDescribe S s\nDescribe S -\nSync").await;
        assert!(told.contains(&format!("DataRow unnamed {number} | 5\n")), "{told}");
        assert!(told.contains("ParameterDescription\nRowDescription ?column?"), "{told}");
        assert!(told.contains("ParameterDescription 23\nRowDescription ?column?"), "{told}");
    }
    // What one closes, the other keeps; and nobody has what only another has prepared.
    let [one, two, three] = &mut wires;
    assert!(one.play("Close S s\nSync").await.contains("CloseComplete"));
    assert!(one.play("Bind - s\nSync").await.contains("C=26000"));
    assert!(two.play("Bind - s\nExecute - 0\nSync").await.contains("DataRow 1 | 7"));
    assert!(two.query("DEALLOCATE s").await.contains("CommandComplete DEALLOCATE"));
    assert!(two.play("Bind - s\nSync").await.contains("C=26000"));
    assert!(two.play("Parse only_two - SELECT 1\nSync").await.contains("ParseComplete"));
    assert!(three.play("Bind - only_two\nSync").await.contains("C=26000"));
    assert!(three.play("Describe S only_two\nSync").await.contains("C=26000"));
    assert!(three.query("EXECUTE only_two").await.contains("C=26000"));
    assert!(three.play("Close S only_two\nSync").await.contains("CloseComplete"));
    assert!(two.play("Bind - only_two\nExecute - 0\nSync").await.contains("DataRow 1\n"));
    assert!(three.query("DISCARD ALL").await.contains("CommandComplete DISCARD ALL"));
    assert!(three.play("Bind - s\nSync").await.contains("C=26000"));
    assert!(two.play("Bind - only_two\nExecute - 0\nSync").await.contains("DataRow 1\n"));
}

/// A backend that has never seen the statement prepares it in passing.
#[tokio::test]
async fn on_whatever_backend_there_is() {
    let veneer = Wanted::default().pool_size(3).start().await;
    let door = veneer.door("app").with("search_path", "cyberdyne");
    let mut wire = door.open().await;
    wire.play("Parse s 23 SELECT pg_backend_pid(), $1\nParse t - SELECT 't'\nSync").await;
    let mut pids = std::collections::HashSet::new();
    let mut holders = Vec::new();
    for turn in 0..3 {
        let told =
            wire.play(&format!("Bind - s {turn}\nExecute - 0\nBind - t\nExecute - 0\nSync")).await;
        let row = told.lines().find(|line| line.starts_with("DataRow")).expect("a row").to_owned();
        assert!(row.ends_with(&format!(" | {turn}")) && told.contains("DataRow t\n"), "{told}");
        pids.insert(row);
        // It takes the backend that was used last.
        if turn < 2 {
            let mut holder = door.open().await;
            holder.play("Query BEGIN\n\nQuery SELECT count(*) FROM authors").await;
            holders.push(holder);
        }
    }
    assert_eq!(pids.len(), 3);
}

/// More statements than a backend keeps: the oldest are closed there, and prepared again.
#[tokio::test]
async fn more_than_a_backend_keeps() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let mut wire = veneer.door("app").with("search_path", "cyberdyne").open().await;
    let count = 600;
    let prepare: Vec<u8> = (0..count)
        .flat_map(|n| parse(&format!("s{n}"), format!("SELECT {n} FROM authors LIMIT 1"), &[]))
        .chain(sync())
        .collect();
    assert_eq!(say(&mut wire, &prepare).await.matches("ParseComplete").count(), count);
    for step in [1, 7, 599] {
        let run: Vec<u8> = (0..count)
            .map(|n| n * step % count)
            .flat_map(|n| [bind("", &format!("s{n}"), &[], &[], &[]), execute("", 0)].concat())
            .chain(sync())
            .collect();
        let told = say(&mut wire, &run).await;
        assert_eq!(told.matches("BindComplete").count(), count, "{told}");
        for n in [0, 1, 255, 256, 257, 599] {
            assert!(told.contains(&format!("DataRow {n}\n")), "{n}: {told}");
        }
    }
    let told = wire.query("SELECT count(*) < 300 FROM pg_prepared_statements").await;
    assert!(told.contains("DataRow t\n"), "{told}");
}

/// Bounds of one client: of the number of its statements, and of the bytes that they take.
#[tokio::test]
async fn too_many_and_too_long() {
    let config = "limits: { statements_max: 1000, statement_bytes_max: 8MiB }";
    let veneer = Wanted::default().pool_size(1).config(config).start().await;
    let mut wire = veneer.door("app").with("search_path", "cyberdyne").open().await;
    // 8 MiB of names; PostgreSQL closes none of more than 10,000 bytes.
    let long = |n: u32| format!("{n:03}{}", "n".repeat(8_997));
    let mut refused = 0;
    for n in 0..950 {
        let told = say(&mut wire, &[parse(&long(n), "SELECT 1", &[]), sync()].concat()).await;
        let expected = if told.contains("C=54000") {
            "ReadyForQuery I\n"
        } else {
            "ParseComplete\nReadyForQuery I\n"
        };
        assert!(told.ends_with(expected), "{told}");
        refused += usize::from(told.contains("C=54000"));
    }
    assert_eq!(refused, 950 - (8 << 20) / (9_000 + 8));
    // What there is can be used, whatever its name.
    let run = [bind("", &long(0), &[], &[], &[]), execute("", 0), sync()].concat();
    let told = say(&mut wire, &run).await;
    assert!(told.contains("DataRow 1\n"), "{told}");
    let told = say(&mut wire, &[close(b'S', &long(0)), sync()].concat()).await;
    assert!(told.contains("CloseComplete"), "{told}");
    let again = [parse(&long(1).replace("001", "new"), "SELECT 2", &[]), sync()].concat();
    assert!(say(&mut wire, &again).await.contains("ParseComplete"));
    assert!(say(&mut wire, &query("DEALLOCATE ALL")).await.contains("DEALLOCATE ALL"));
    // More than 1,000; what is refused is refused alone.
    for n in 0..1010 {
        let told =
            say(&mut wire, &[parse(&format!("s{n}"), "SELECT 3", &[]), sync()].concat()).await;
        assert_eq!(told.contains("C=54000"), 1000 <= n, "{n}: {told}");
    }
    assert!(wire.play("Bind - s999\nExecute - 0\nSync").await.contains("DataRow 3\n"));
    assert!(wire.play("Bind - s1000\nExecute - 0\nSync").await.contains("C=26000"));
    // The unnamed one is counted, too, but always makes room for itself.
    wire.play("Close S s1\nSync").await;
    for _ in 0..3 {
        let told = wire.play("Parse - - SELECT 4\nBind - -\nExecute - 0\nSync").await;
        assert!(told.contains("DataRow 4\n"), "{told}");
    }
    // Portals have names without end, too.
    let long_portal = "p".repeat(9_000);
    let run = [bind(&long_portal, "s2", &[], &[], &[]), execute(&long_portal, 0), sync()].concat();
    assert!(say(&mut wire, &run).await.contains("DataRow 3\n"));
    let mut other = veneer.door("app").with("search_path", "initech").open().await;
    assert!(other.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
}

/// 100,000 statements: each is refused beyond the bound, and nothing grows.
#[tokio::test]
async fn a_hundred_thousand_statements() {
    make_schema(2, "hundred_thousand").await;
    let wanted = Wanted::default().pool_size(1).tenant(("hundred_thousand", "shard2", "active"));
    let veneer: Veneer = wanted.start().await;
    let mut wire = veneer.door("app").with("search_path", "hundred_thousand").open().await;
    let rounds = 1_000;
    for round in 0..rounds {
        let bytes: Vec<u8> = (0..100)
            .flat_map(|n| {
                [parse(&format!("s{round}_{n}"), "SELECT here FROM place", &[]), sync()].concat()
            })
            .collect();
        let mut told = Transcript::default();
        assert!(wire.talk(&bytes, Until::Ready(100), &mut told).await);
        let refused = told.finish().matches("C=54000").count();
        assert_eq!(refused, if round < 10 { 0 } else { 100 }, "round {round}");
    }
    assert!(wire.play("Bind - s0_0\nExecute - 0\nSync").await.contains("DataRow on shard2"));
    veneer.assert_alive();
}
