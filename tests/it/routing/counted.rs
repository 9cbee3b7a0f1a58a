//! What veneer brings along costs no round trip: it travels in the write of the client's own words.

use super::make_schema;
use crate::support::counted::CountedShard;
use crate::support::served::{Veneer, Wanted};
use crate::support::wire::Wire;
use crate::support::world;

/// So often is each case played.
const TIMES: usize = 20;

/// A tenant on each of two schemas, all on one backend of a shard whose socket is watched.
struct Counting {
    shard: CountedShard,
    veneer: Veneer,
    tenants: [String; 2],
}

impl Counting {
    async fn new(name: &str) -> Self {
        let tenants = ["one", "two"].map(|number| format!("{name}_{number}"));
        for tenant in &tenants {
            make_schema(2, tenant).await;
        }
        let shard = CountedShard::before(world().shard(2).cluster.port()).await;
        let mut wanted = Wanted::default().pool_size(1).shard("counted", shard.port);
        for tenant in &tenants {
            wanted = wanted.tenant((tenant, "counted", "active"));
        }
        Self { shard, veneer: wanted.start().await, tenants }
    }

    async fn open(&self, client: usize) -> Wire {
        self.veneer.door("app").with("search_path", &self.tenants[client]).open().await
    }

    /// Each script in its turn, [`TIMES`] times; how often veneer wrote for each time.
    async fn count(&self, wires: &mut [Wire], turns: &[(usize, String)]) -> usize {
        // What is done for the first time may cost more.
        for (client, script) in turns {
            wires[*client].play(script).await;
        }
        let before = self.shard.sent();
        for _ in 0..TIMES {
            for (client, script) in turns {
                let told = wires[*client].play(script).await;
                assert!(!told.contains("ErrorResponse"), "{script}\n{told}");
            }
        }
        let after = self.shard.sent();
        let (writes, trips) = (after.writes - before.writes, after.turns - before.turns);
        assert_eq!(writes, trips, "one write for each round trip: {turns:?}");
        assert_eq!(trips % TIMES, 0, "each time the same: {turns:?}");
        trips / TIMES
    }
}

fn extended(sql: &str) -> String {
    format!("Parse - - {sql}\nBind - -\nDescribe P -\nExecute - 0\nSync\n\n")
}

const READ: &str = "SELECT here FROM place";

#[tokio::test]
async fn a_set_costs_no_round_trip() {
    let counting = Counting::new("counted_set").await;
    let mut wires = [counting.open(0).await, counting.open(1).await];
    let [one, two] = &counting.tenants;
    let simple = |sql: &str| format!("Query {sql}\n\n");
    // Prepared once by each client; bound and executed from then on.
    for wire in &mut wires {
        wire.play(&format!("Parse s - {READ}\nSync")).await;
    }
    let bound = "Bind - s\nExecute - 0\nSync\n\n".to_owned();
    for (how, read) in [("simple", simple(READ)), ("extended", extended(READ)), ("bound", bound)] {
        let alone = counting.count(&mut wires, &[(0, read.clone())]).await;
        assert_eq!(alone, 1, "{how}");
        for set in [
            simple(&format!("SET search_path = '{two}','public'")),
            simple(&format!("SET search_path = {one}")),
            extended(&format!("SET search_path TO \"{two}\"")),
            simple("RESET search_path"),
            simple("DISCARD ALL"),
            simple(&format!("SET search_path = {two}")) + &simple(&format!("SET SCHEMA '{one}'")),
        ] {
            // DISCARD ALL forgets what was prepared.
            let forgets = set.contains("DISCARD") && how == "bound";
            let prepare = format!("Parse s - {READ}\n");
            let read = if forgets { format!("{prepare}{read}") } else { read.clone() };
            let trips = counting.count(&mut wires, &[(0, format!("{set}{read}"))]).await;
            assert_eq!(trips, alone, "{how}: {set}");
        }
        // In a transaction, whose BEGIN and SET LOCAL travel along: the read, and COMMIT.
        let begun = simple("BEGIN") + &simple(&format!("SET LOCAL search_path = {two}"));
        let whole = format!("{begun}{read}{}", simple("COMMIT"));
        assert_eq!(counting.count(&mut wires, &[(0, whole)]).await, 2, "{how}");
        // Another client's turn each time: path, settings and prepared statements change hands.
        wires[0].play("Query SET work_mem = '1MB'\n\nQuery SET timezone = 'Asia/Tokyo'").await;
        wires[1].play("Query SET work_mem = '2MB'\n\nQuery SET my.own = 'x'").await;
        let turns = [(0, read.clone()), (1, read.clone())];
        assert_eq!(counting.count(&mut wires, &turns).await, 2, "{how}");
        for wire in &mut wires {
            wire.play(&format!("Query RESET ALL\n\nClose S s\nParse s - {READ}\nSync")).await;
        }
    }
}

/// What a shard must judge costs what it costs on PostgreSQL: one.
#[tokio::test]
async fn what_the_shard_must_judge_costs_one() {
    let counting = Counting::new("counted_judged").await;
    let mut wires = [counting.open(0).await, counting.open(1).await];
    let two = &counting.tenants[1];
    for (script, expected) in [
        ("Query SET work_mem = '3MB'".to_owned(), 1),
        (format!("Query SELECT set_config('search_path', '{two}', false)"), 1),
        (
            format!(
                "Parse - - SELECT set_config('search_path', $1, true)\nBind - - {two}\nExecute - 0\nSync"
            ),
            1,
        ),
        (format!("Query SET search_path = {two};{READ}"), 1),
        (format!("Query BEGIN;{READ};COMMIT"), 1),
        (format!("Query SHOW search_path\n\nQuery {READ}"), 2),
        ("Query BEGIN\n\nQuery COMMIT\n\nQuery SET search_path = pg_catalog".to_owned(), 0),
    ] {
        assert_eq!(counting.count(&mut wires, &[(0, script.clone())]).await, expected, "{script}");
    }
}

/// A pipeline goes out as it came in, whatever is brought along.
#[tokio::test]
async fn a_pipeline_is_one_write() {
    let counting = Counting::new("counted_pipe").await;
    let mut wires = [counting.open(0).await, counting.open(1).await];
    let two = &counting.tenants[1];
    let run = format!("Parse - - {READ}\nBind - -\nExecute - 0\n");
    for (script, expected) in [
        (format!("{}Sync", run.repeat(10)), 1),
        (format!("{}Sync", format!("{run}Sync\n").repeat(10)), 1),
        (format!("Query SET search_path = {two}\n\n{}Sync", run.repeat(3)), 1),
        (format!("{}Query {READ}", run.repeat(3)), 1),
    ] {
        let turns = [(0, script.clone()), (1, format!("{run}Sync"))];
        assert_eq!(counting.count(&mut wires, &turns).await, expected + 1, "{script}");
    }
}
