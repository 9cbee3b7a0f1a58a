//! COPY data where no COPY is: PostgreSQL passes it over, whenever it comes.

use crate::support::message::{claim, query};
use crate::support::served::Wanted;
use crate::support::transcript::Transcript;
use crate::support::wire::{Until, Wire};

/// What is left of the piece when its Query has been answered.
const REST: &[u8] = &[b'x'; 990];

/// A Query is answered while half of a piece of COPY data has come behind it.
async fn stray(wire: &mut Wire) {
    let piece = [claim(b'd', 1004), vec![b'x'; 10]].concat();
    let mut told = Transcript::default();
    let both = [query("SELECT 1"), piece].concat();
    assert!(wire.talk(&both, Until::Ready(1), &mut told).await);
}

/// The rest of the piece comes with this Query behind it.
async fn go_on(wire: &mut Wire, sql: &str) -> String {
    let mut told = Transcript::default();
    let both = [REST, &query(sql)].concat();
    assert!(wire.talk(&both, Until::Ready(1), &mut told).await);
    told.finish()
}

#[tokio::test]
async fn stray_data_holds_no_backend() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let door = veneer.door("app").with("search_path", "cyberdyne");
    let mut first = door.open().await;
    stray(&mut first).await;
    first.send(REST).await;
    let told = door.open().await.query("SELECT 7").await;
    assert!(told.contains("DataRow 7"), "{told}");
}

/// In our book as on the shard.
#[tokio::test]
async fn what_fails_behind_stray_data_is_undone() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let mut first = veneer.door("app").with("search_path", "cyberdyne").open().await;
    stray(&mut first).await;
    let told = go_on(&mut first, "SET search_path = dunder_mifflin; SELECT 1 / 0").await;
    assert!(told.contains("C=22012"), "{told}");
    let mut other = veneer.door("app").with("search_path", "dunder_mifflin").open().await;
    let told = other.query("SELECT current_schema()").await;
    assert!(told.contains("DataRow dunder_mifflin"), "{told}");
    let told = first.query("SELECT current_schema()").await;
    assert!(told.contains("DataRow cyberdyne"), "{told}");
}

/// What comes after it goes where the path leads that is left.
#[tokio::test]
async fn what_is_local_behind_stray_data_ends() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let mut first = veneer.door("app").with("search_path", "cyberdyne").open().await;
    stray(&mut first).await;
    let sql = "SET LOCAL search_path = initech; SELECT 1 FROM cyberdyne.authors";
    let told = go_on(&mut first, sql).await;
    assert!(told.contains("CommandComplete SELECT 7"), "{told}");
    let told = first.query("SELECT current_schema() FROM authors LIMIT 1").await;
    assert!(told.contains("DataRow cyberdyne"), "{told}");
}
