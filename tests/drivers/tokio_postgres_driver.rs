//! tokio-postgres: what Rust programs do.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{join_all, poll_fn, try_join_all};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use crate::support::{direct, world};
use crate::veneer::{shared, until_active};

const TENANTS: [(&str, usize); 4] =
    [("bluth_co", 1), ("cyberdyne", 2), ("dunder_mifflin", 2), ("initech", 3)];
const ERNEST: &str = "SELECT id::text FROM authors WHERE first_name = $1";

/// What a tenant's Ernest is called, asked past veneer.
async fn ernest(tenant: &str, shard: usize) -> String {
    let client = direct(&world().shard(shard).app_config()).await;
    let sql = format!("SELECT id::text FROM {tenant}.authors WHERE first_name = 'Ernest'");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

#[track_caller]
fn code<T: std::fmt::Debug>(outcome: Result<T, tokio_postgres::Error>) -> String {
    outcome.expect_err("it was to fail").code().expect("an answer of PostgreSQL").code().to_owned()
}

/// A table of the test's own, made through veneer by the schema's owner.
async fn make(sql: &str) {
    direct(&shared().admin()).await.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn one_connection_four_tenants() {
    let client = direct(&shared().app()).await;
    for (tenant, shard) in TENANTS {
        let sql = format!("SELECT id::text FROM {tenant}.authors WHERE first_name = $1");
        let row = client.query_one(&sql, &[&"Ernest"]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), ernest(tenant, shard).await);
    }
    let across = "SELECT * FROM cyberdyne.authors, initech.authors";
    assert_eq!(code(client.query(across, &[]).await), "0A000");
    assert_eq!(code(client.query("SELECT * FROM initec.authors", &[]).await), "3F000");
    assert_eq!(code(client.batch_execute(across).await), "0A000");
    let row = client.query_one("SELECT $1::int8 + 1", &[&41_i64]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 42);
}

#[tokio::test]
async fn a_prepared_statement_follows_the_path() {
    let client = direct(&shared().app()).await;
    client.batch_execute("SET search_path = bluth_co").await.unwrap();
    let statement = client.prepare(ERNEST).await.unwrap();
    for _ in 0..3 {
        for (tenant, shard) in TENANTS {
            client.batch_execute(&format!("SET search_path = {tenant}")).await.unwrap();
            let row = client.query_one(&statement, &[&"Ernest"]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), ernest(tenant, shard).await, "{tenant}");
        }
    }
    client.batch_execute("SET search_path = nobody").await.unwrap();
    assert_eq!(code(client.query(&statement, &[&"Ernest"]).await), "3F000");
    client.batch_execute("RESET search_path").await.unwrap();
    assert_eq!(code(client.query(&statement, &[&"Ernest"]).await), "42P01");
}

/// SET through Parse, Bind and Execute, and a bound value.
#[tokio::test]
async fn the_path_in_the_extended_protocol() {
    let client = direct(&shared().app()).await;
    let path = "SELECT set_config('search_path', $1, false)";
    for (tenant, shard) in TENANTS {
        client.execute(&format!("SET search_path TO \"{tenant}\""), &[]).await.unwrap();
        let row = client.query_one(ERNEST, &[&"Ernest"]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), ernest(tenant, shard).await, "{tenant} by SET");
    }
    for (tenant, shard) in TENANTS {
        client.query_one(path, &[&format!("{tenant}, public")]).await.unwrap();
        let row = client.query_one(ERNEST, &[&"Ernest"]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), ernest(tenant, shard).await, "{tenant} by value");
        let row = client.query_one("SHOW search_path", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), format!("{tenant}, public"));
    }
}

#[tokio::test]
async fn transactions_and_savepoints() {
    make("CREATE TABLE initech.rust_tx (id int PRIMARY KEY)").await;
    let mut client = shared().tenant("initech").await;
    let count = "SELECT count(*) FROM rust_tx";
    {
        let mut transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO rust_tx VALUES (1)", &[]).await.unwrap();
        let savepoint = transaction.savepoint("one").await.unwrap();
        savepoint.execute("INSERT INTO rust_tx VALUES (2)", &[]).await.unwrap();
        assert_eq!(code(savepoint.execute("INSERT INTO rust_tx VALUES (2)", &[]).await), "23505");
        assert_eq!(code(savepoint.query(count, &[]).await), "25P02");
        savepoint.rollback().await.unwrap();
        transaction.execute("INSERT INTO rust_tx VALUES (3)", &[]).await.unwrap();
        transaction.commit().await.unwrap();
    }
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
    {
        // Dropped: the driver sends ROLLBACK.
        let transaction = client.transaction().await.unwrap();
        transaction.execute("DELETE FROM rust_tx", &[]).await.unwrap();
    }
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
    {
        let transaction = client.transaction().await.unwrap();
        transaction.execute("DELETE FROM rust_tx", &[]).await.unwrap();
        assert_eq!(code(transaction.query("SELECT FROM bluth_co.authors", &[]).await), "0A000");
        // PostgreSQL answers ROLLBACK, which the driver takes for success.
        transaction.commit().await.unwrap();
    }
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
    let strict = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::Serializable)
        .read_only(true)
        .start()
        .await
        .unwrap();
    assert_eq!(code(strict.execute("DELETE FROM rust_tx", &[]).await), "25006");
    strict.rollback().await.unwrap();
}

#[tokio::test]
async fn a_pipeline_of_many_futures() {
    let client = direct(&shared().app()).await;
    // Each goes to its tenant's shard, all are sent at once, and the answers keep their order.
    let queries = (0..200).map(|n| {
        let (tenant, _) = TENANTS[n % 4];
        let client = &client;
        async move {
            let sql = format!("SELECT '{tenant}', $1::int4 FROM {tenant}.authors LIMIT 1");
            let row = client.query_one(&sql, &[&(n as i32)]).await.unwrap();
            assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), (tenant, n as i32));
        }
    });
    join_all(queries).await;

    let client = shared().tenant("cyberdyne").await;
    let statement =
        client.prepare("SELECT $1::int4 / $2::int4 FROM authors LIMIT 1").await.unwrap();
    let divisions = (0..100).map(|n| {
        let (client, statement) = (&client, &statement);
        async move {
            let divisor = n % 10;
            let divided = client.query_one(statement, &[&n, &divisor]).await;
            match divisor {
                0 => assert_eq!(code(divided), "22012"),
                _ => assert_eq!(divided.unwrap().get::<_, i32>(0), n / divisor),
            }
        }
    });
    join_all(divisions).await;

    // In one write: a transaction, its setting and its end.
    let (begun, locked, set, shown, ended, after) = tokio::join!(
        client.simple_query("BEGIN"),
        client.simple_query("SELECT FROM books FOR SHARE"),
        client.simple_query("SET LOCAL work_mem = '1MB'"),
        client.simple_query("SHOW work_mem"),
        client.simple_query("COMMIT"),
        client.simple_query("SHOW work_mem"),
    );
    begun.unwrap();
    assert_eq!(locked.unwrap().len(), 10, "a head, eight rows and a tag");
    set.unwrap();
    let first = |shown: Vec<SimpleQueryMessage>| {
        let row = shown.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        row.unwrap()
    };
    assert_eq!(first(shown.unwrap()), "1MB");
    ended.unwrap();
    assert_ne!(first(after.unwrap()), "1MB");
}

#[tokio::test]
async fn copy_in_and_out_text_and_binary() {
    make("CREATE TABLE initech.rust_copy (id int4, word text)").await;
    let client = shared().tenant("initech").await;
    let sink = client.copy_in("COPY rust_copy FROM STDIN").await.unwrap();
    let mut sink = pin!(sink);
    for n in 0..1000 {
        sink.send(Bytes::from(format!("{n}\tword {n}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 1000);

    let sink = client.copy_in("COPY rust_copy FROM STDIN (FORMAT binary)").await.unwrap();
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]));
    for n in 1000..2000_i32 {
        writer.as_mut().write(&[&n, &"binary"]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 1000);

    let text: Vec<Bytes> =
        client.copy_out("COPY rust_copy TO STDOUT").await.unwrap().try_collect().await.unwrap();
    let text = text.concat();
    assert_eq!(text.split(|byte| *byte == b'\n').count(), 2001);
    assert!(text.starts_with(b"0\tword 0\n"));

    let stream = client.copy_out("COPY rust_copy TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<_> =
        BinaryCopyOutStream::new(stream, &[Type::INT4, Type::TEXT]).try_collect().await.unwrap();
    assert_eq!((rows.len(), rows[1500].get::<i32>(0)), (2000, 1500));

    // Bad data: the error, and the connection lives on.
    let sink = client.copy_in::<_, Bytes>("COPY rust_copy FROM STDIN").await.unwrap();
    let mut sink = pin!(sink);
    sink.send(Bytes::from_static(b"no number\tx\n")).await.unwrap();
    assert_eq!(code(sink.finish().await), "22P02");
    // Given up: the driver sends CopyFail.
    let sink = client.copy_in::<_, Bytes>("COPY rust_copy FROM STDIN").await.unwrap();
    drop(Box::pin(sink));
    let row = client.query_one("SELECT count(*) FROM rust_copy", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2000);
    assert_eq!(code(client.copy_out("COPY bluth_co.nothing TO STDOUT").await.map(drop)), "42P01");
}

#[tokio::test]
async fn portals_are_fetched_piece_by_piece() {
    let mut client = shared().tenant("dunder_mifflin").await;
    let transaction = client.transaction().await.unwrap();
    let sql = "SELECT title FROM books WHERE title > $1 ORDER BY title";
    let statement = transaction.prepare(sql).await.unwrap();
    let portal = transaction.bind(&statement, &[&""]).await.unwrap();
    let other = transaction.bind(&statement, &[&"T"]).await.unwrap();
    let mut sizes = Vec::new();
    let mut titles = Vec::new();
    for _ in 0..4 {
        let rows = transaction.query_portal(&portal, 3).await.unwrap();
        sizes.push(rows.len());
        titles.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        transaction.query_portal(&other, 1).await.unwrap();
    }
    assert_eq!(sizes, [3, 3, 2, 0]);
    let all = transaction.query(&statement, &[&""]).await.unwrap();
    let all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
    assert_eq!(titles, all);
    transaction.commit().await.unwrap();

    let rows = client.query_raw(&statement, ["The"]).await.unwrap();
    let rows: Vec<_> = rows.try_collect().await.unwrap();
    assert!(!rows.is_empty());
    // A stream that nobody reads to its end.
    let rows = client.query_raw("SELECT generate_series(1, 100000)", [0_i32; 0]).await.unwrap();
    let mut rows = Box::pin(rows);
    rows.next().await.unwrap().unwrap();
    drop(rows);
    assert_eq!(client.query(&statement, &[&""]).await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_cancel_token_cancels() {
    let client = Arc::new(shared().tenant("initech").await);
    let shard = direct(&world().shard(3).cluster.superuser_config()).await;
    let asked = client.clone();
    let query = tokio::spawn(async move {
        asked.query("SELECT pg_sleep(600) /* token */ FROM authors", &[]).await
    });
    until_active(&shard, "/* token */", 1).await;
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    assert_eq!(code(query.await.unwrap()), "57014");
    assert_eq!(client.query("SELECT FROM authors", &[]).await.unwrap().len(), 7);
}

/// A client whose notices and notifications are told to the receiver.
async fn listener(
    config: &tokio_postgres::Config,
) -> (Client, mpsc::UnboundedReceiver<AsyncMessage>) {
    let (client, mut connection) = config.connect(NoTls).await.unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if tell.send(message).is_err() {
                return;
            }
        }
    });
    (client, told)
}

#[tokio::test]
async fn notifications_come_to_an_idle_client() {
    let (client, mut told) = listener(shared().app().options("-c search_path=cyberdyne")).await;
    client.batch_execute("LISTEN news; LISTEN \"More News\"").await.unwrap();
    let speaker = shared().tenant("cyberdyne").await;
    let elsewhere = shared().tenant("initech").await;
    elsewhere.batch_execute("NOTIFY news, 'another shard'").await.unwrap();
    speaker.batch_execute("NOTIFY news, 'one'").await.unwrap();
    speaker.query("SELECT pg_notify($1, $2)", &[&"More News", &"two"]).await.unwrap();
    for expected in [("news", "one"), ("More News", "two")] {
        let message = tokio::time::timeout(crate::veneer::PATIENCE, told.recv()).await.unwrap();
        let Some(AsyncMessage::Notification(heard)) = message else { panic!("{message:?}") };
        assert_eq!((heard.channel(), heard.payload()), expected);
    }
    // Its other work goes on, on other shards as well.
    assert_eq!(client.query("SELECT FROM authors", &[]).await.unwrap().len(), 7);
    assert_eq!(client.query("SELECT FROM initech.authors", &[]).await.unwrap().len(), 7);
    client.batch_execute("NOTIFY news, 'to myself'").await.unwrap();
    let message = tokio::time::timeout(crate::veneer::PATIENCE, told.recv()).await.unwrap();
    let Some(AsyncMessage::Notification(heard)) = message else { panic!("{message:?}") };
    assert_eq!(heard.payload(), "to myself");
    client.batch_execute("UNLISTEN *").await.unwrap();
    speaker.batch_execute("NOTIFY news, 'unheard'").await.unwrap();
    let notice = "DO $$ BEGIN RAISE NOTICE 'for you'; END $$";
    client.batch_execute(notice).await.unwrap();
    let message = tokio::time::timeout(crate::veneer::PATIENCE, told.recv()).await.unwrap();
    let Some(AsyncMessage::Notice(heard)) = message else { panic!("{message:?}") };
    assert_eq!(heard.message(), "for you");
}

/// A label of any enum.
#[derive(Debug, PartialEq)]
struct Label(String);

impl ToSql for Label {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Enum(labels) if labels == &["sad", "ok"])
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Label {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8(raw.to_vec())?))
    }

    fn accepts(ty: &Type) -> bool {
        <Self as ToSql>::accepts(ty)
    }
}

/// The driver asks the catalogue about types that it does not know.
#[tokio::test]
async fn enums_of_the_tenant() {
    for tenant in ["bluth_co", "initech"] {
        make(&format!(
            "CREATE TYPE {tenant}.rust_mood AS ENUM ('sad', 'ok');
             CREATE TABLE {tenant}.rust_moods (who text, mood {tenant}.rust_mood)"
        ))
        .await;
    }
    for tenant in ["bluth_co", "initech"] {
        let client = shared().tenant(tenant).await;
        for (who, mood) in [("a", Label("sad".into())), ("b", Label("ok".into()))] {
            let sql = "INSERT INTO rust_moods VALUES ($1, $2)";
            client.execute(sql, &[&who, &mood]).await.unwrap();
        }
        let sql = "SELECT mood FROM rust_moods WHERE mood = $1";
        let row = client.query_one(sql, &[&Label("ok".into())]).await.unwrap();
        assert_eq!(row.get::<_, Label>(0), Label("ok".into()));
    }
}

#[tokio::test]
async fn many_statements_in_one_message() {
    let client = direct(&shared().app()).await;
    let messages = client
        .simple_query(
            "SET search_path = cyberdyne; SELECT count(*) FROM books; SELECT 1; ; SELECT last_name \
             FROM authors WHERE first_name = 'Ernest'",
        )
        .await
        .unwrap();
    let values: Vec<&str> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert_eq!(values, ["8", "1", "Hemingway"]);
    let mixed = "SELECT FROM cyberdyne.books; SELECT FROM initech.books";
    assert_eq!(code(client.batch_execute(mixed).await), "0A000");
    let fails = "SELECT 1 FROM books; SELECT 1 / 0 FROM books; SELECT 2 FROM books";
    assert_eq!(code(client.batch_execute(fails).await), "22012");
    client.batch_execute("").await.unwrap();
    client.batch_execute(" ;; -- nothing\n").await.unwrap();
    let statements: Vec<_> = try_join_all((0..300).map(|n| {
        let client = &client;
        async move { client.prepare(&format!("SELECT {n}::int4 FROM books LIMIT 1")).await }
    }))
    .await
    .unwrap();
    // More than one backend keeps: the eldest were closed there, and come back.
    for (n, statement) in statements.iter().enumerate() {
        let row = client.query_one(statement, &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), n as i32);
    }
}
