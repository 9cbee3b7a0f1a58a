//! The world changes under open sessions: tenants move, files break, shards are down.

use std::time::{Duration, Instant};

use veneer::demo::cluster::free_port;

use super::{check, make_schema};
use crate::support::served::{TENANTS, Tenant, Wanted};
use crate::support::wire::Wire;

const NOTICED_WAIT_MAX: Duration = Duration::from_secs(20);

/// Asks again and again until the answer holds `wanted`; every other answer must hold `before`.
async fn until(wire: &mut Wire, sql: &str, before: &str, wanted: &str) {
    let deadline = Instant::now() + NOTICED_WAIT_MAX;
    loop {
        let told = wire.query(sql).await;
        if told.contains(wanted) {
            return;
        }
        assert!(told.contains(before), "{told}");
        assert!(Instant::now() < deadline, "never answered {wanted}: {told}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn with<'t>(more: &[Tenant<'t>]) -> Vec<Tenant<'t>> {
    TENANTS.into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn a_tenant_that_moved_is_found_by_open_sessions() {
    make_schema(2, "mover").await;
    make_schema(3, "mover").await;
    let veneer = Wanted::default().tenant(("mover", "shard2", "active")).start().await;
    let mut named = veneer.door("app").open().await;
    let mut by_path = veneer.door("app").with("search_path", "mover").open().await;
    let mut prepared = veneer.door("app").open().await;
    let mut open = veneer.door("app").open().await;
    let bound = "Bind - s\nExecute - 0\nSync";
    prepared.play("Parse s - SELECT here FROM mover.place\nSync").await;
    assert!(prepared.play(bound).await.contains("DataRow on shard2"));
    assert!(by_path.query("SELECT here FROM place").await.contains("on shard2"));
    open.play("Query BEGIN\n\nQuery SELECT here FROM mover.place").await;

    veneer.write_directory(&with(&[("mover", "shard3", "active")]));
    until(&mut named, "SELECT here FROM mover.place", "on shard2", "on shard3").await;
    assert!(by_path.query("SELECT here FROM place").await.contains("on shard3"));
    assert!(prepared.play(bound).await.contains("DataRow on shard3"));
    let told = open.query("SELECT here FROM mover.place").await;
    assert!(told.contains("C=0A000"), "{told}");
    let told = open.play("Query ROLLBACK\n\nQuery SELECT here FROM mover.place").await;
    assert!(told.contains("on shard3"), "{told}");

    veneer.write_directory(&with(&[("mover", "shard3", "suspended")]));
    until(&mut named, "SELECT here FROM mover.place", "on shard3", "C=57P03").await;
    veneer.write_directory(&with(&[]));
    until(&mut named, "SELECT here FROM mover.place", "C=57P03", "C=3F000").await;
}

#[tokio::test]
async fn a_file_with_a_mistake_changes_nothing() {
    make_schema(2, "steady").await;
    make_schema(3, "steady").await;
    make_schema(3, "later").await;
    let veneer = Wanted::default().tenant(("steady", "shard2", "active")).start().await;
    let mut wire = veneer.door("app").open().await;
    for bad in [
        "home: shard1\nshards: {}\n",
        "",
        "}{",
        "home: shard1\ntenants:\n  steady: { shard: shard3 }\n  steady: { shard: shard3 }\n",
    ] {
        veneer.write_directory_text(bad);
        // Longer than the file is left alone: it is read in this time, and must not count.
        let end = Instant::now() + Duration::from_millis(400);
        while Instant::now() < end {
            let told = wire.query("SELECT here FROM steady.place").await;
            assert!(told.contains("on shard2"), "{told}");
        }
    }
    veneer.write_directory(&with(&[("steady", "shard2", "active"), ("later", "shard3", "active")]));
    until(&mut wire, "SELECT here FROM later.place", "C=3F000", "on shard3").await;
    assert!(wire.query("SELECT here FROM steady.place").await.contains("on shard2"));
}

#[tokio::test]
async fn a_shard_that_is_down_concerns_its_own_tenants_only() {
    let wanted = Wanted::default().shard("shard9", free_port().unwrap()).tenant((
        "unreached",
        "shard9",
        "active",
    ));
    let veneer = wanted.start().await;
    let down = "ErrorResponse C=08006 M=cannot reach shard \"shard9\" H=Try again later.";
    check(
        &veneer.door("app"),
        "Query SELECT '@@' FROM unreached.t\n\nQuery SELECT count(*) FROM initech.authors\n\n\
         Parse - - SELECT '@@' FROM unreached.t\nBind - -\nExecute - 0\nSync\n\n\
         Query SELECT count(*) FROM cyberdyne.authors",
        &format!(
            "{down}\nReadyForQuery I\nDataRow 7\nCommandComplete SELECT 1\nReadyForQuery I\n\
             {down}\nReadyForQuery I\nDataRow 7\nCommandComplete SELECT 1\nReadyForQuery I"
        ),
    )
    .await;
    let inside = veneer.door("app").with("search_path", "unreached");
    check(
        &inside,
        "Query SELECT '@@' FROM t\n\nQuery SET search_path = initech\n\nQuery SELECT count(*) FROM authors",
        &format!(
            "{down}\nReadyForQuery I\nCommandComplete SET\nReadyForQuery I\n\
             DataRow 7\nCommandComplete SELECT 1\nReadyForQuery I"
        ),
    )
    .await;
    // In a transaction whose shard is not known yet there is nowhere to fail.
    let mut wire = veneer.door("app").open().await;
    let told = wire.play("Query BEGIN\n\nQuery SELECT 1 FROM unreached.t").await;
    assert!(told.contains("C=08006"), "{told}");
    assert!(told.ends_with("ReadyForQuery E\n") || told.ends_with("closed\n"), "{told}");
    veneer.assert_alive();
}
