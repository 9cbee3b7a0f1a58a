//! What each piece of a query's way costs by itself: `make bench-pieces`.
//!
//! The scan of replies, the ledger and the session cannot be had without sockets: they are measured
//! together, by `make bench`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use veneer::auth::users::BackendLogin;
use veneer::backend::settings::{SettingMap, Told};
use veneer::directory::{Address, Directory, Shard, Snapshot};
use veneer::pool::line::Line;
use veneer::pool::{self, Pools};
use veneer::protocol::answer::{self, Status};
use veneer::protocol::ask;
use veneer::protocol::frame::Header;
use veneer::protocol::request;
use veneer::router::{self, Asker, Path};
use veneer::sql::Reader;
use veneer::tenant::{RoleName, SchemaName, ShardName, Standing};

/// A statement of a size, with a literal and a name that can be made new each time.
struct Sample {
    name: &'static str,
    write: fn(literal: u64, name: u64) -> String,
}

const SAMPLES: [Sample; 3] = [
    Sample { name: "58 B SELECT", write: point_select },
    Sample { name: "1.4 kB SELECT", write: orm_select },
    Sample { name: "6.8 kB INSERT", write: bulk_insert },
];

fn point_select(literal: u64, name: u64) -> String {
    format!("SELECT id, name, email FROM u{name:05} WHERE id={literal:06} LIMIT 1")
}

/// As an ORM says it: every column of six joined tables, quoted and with a name of its own.
fn orm_select(literal: u64, name: u64) -> String {
    let tables = ["order", "customer", "address", "invoice", "payment", "product", "supplier"];
    let columns = ["id", "name", "last_modified_at"];
    let column =
        |(table, column): (&str, &str)| format!(r#""{table}"."{column}" AS {table}_{column}"#);
    let each = tables.iter().flat_map(|table| columns.map(|column| (*table, column)));
    let columns: Vec<_> = each.map(column).collect();
    let join = |table: &&str| {
        format!(r#" LEFT OUTER JOIN "{table}" ON "{table}"."id" = "order"."{table}_id""#)
    };
    let joins: String = tables[1..].iter().map(join).collect();
    format!(
        r#"SELECT {} FROM "order"{joins} WHERE "order"."id{name:05}" = {literal:06} AND "order"."state" IN ('paid', 'sent') ORDER BY "order"."id" DESC LIMIT 20"#,
        columns.join(", ")
    )
}

fn bulk_insert(literal: u64, name: u64) -> String {
    let row = |row| {
        format!(
            "({row:04}, 'customer {row:04}', 'customer{row:04}@post.example.com', {literal:07})"
        )
    };
    let rows: Vec<_> = (0..100).map(row).collect();
    format!("INSERT INTO customer{name:05} (id, name, email, balance) VALUES {}", rows.join(", "))
}

/// The counts of a bench run differ from those of another, and nothing is said twice by accident.
struct Count(u64);

impl Count {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for Sample { name, write } in SAMPLES {
        let text = write(1, 0);
        group.throughput(Throughput::Bytes(text.len() as u64));
        let reader = Reader::new(&Default::default());
        reader.read_now(text.as_bytes()).expect("it is SQL");
        group.bench_function(BenchmarkId::new("same text", name), |bencher| {
            bencher.iter(|| reader.cached(black_box(text.as_bytes())).expect("it is known"));
        });
        let mut count = Count(0);
        group.bench_function(BenchmarkId::new("new literal", name), |bencher| {
            bencher.iter_batched(
                || write(count.next(), 0),
                |text| reader.cached(text.as_bytes()).expect("its shape is known"),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("miss", name), |bencher| {
            bencher.iter_batched(
                || write(1, count.next()),
                |text| reader.read_now(text.as_bytes()).expect("it is SQL"),
                BatchSize::SmallInput,
            );
        });
    }
    // What hangs on its literals is known by its whole text only.
    let reader = Reader::new(&Default::default());
    for text in ["SET search_path = 'tenant1', public", "SELECT 'tenant1.users'::regclass"] {
        reader.read_now(text.as_bytes()).expect("it is SQL");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("same text", text), |bencher| {
            bencher.iter(|| reader.cached(black_box(text.as_bytes())).expect("it is known"));
        });
    }
    group.finish();
}

/// As a read brings it: 8 KiB of what PostgreSQL says about small rows.
fn rows() -> BytesMut {
    let mut rows = BytesMut::new();
    while rows.len() < 8 * 1024 {
        rows.put_slice(b"D\0\0\0\x19\0\x02\0\0\0\x0512345\0\0\0\x06abcdef");
    }
    rows
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let rows = rows();
    group.throughput(Throughput::Bytes(rows.len() as u64));
    group.bench_function("8 KiB of rows", |bencher| {
        bencher.iter(|| {
            let (mut rest, mut frames) = (black_box(&rows[..]), 0);
            while let Ok(Some(header)) = Header::peek(rest) {
                let Some(next) = rest.get(header.frame_bytes()..) else { break };
                rest = next;
                frames += 1;
            }
            frames
        });
    });
    let mut asked = BytesMut::new();
    ask::query(&point_select(1, 0), &mut asked).expect("it holds no NUL");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a Query", |bencher| {
        bencher.iter(|| {
            let (_, header) =
                request::peek(black_box(&asked)).expect("a frame").expect("all of it");
            request::query(&asked[5..header.frame_bytes()]).expect("a text").len()
        });
    });
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    let sql = point_select(1, 0);
    let mut out = BytesMut::with_capacity(8 * 1024);
    group.bench_function("Query", |bencher| {
        bencher.iter(|| {
            out.clear();
            ask::query(black_box(&sql), &mut out).expect("it holds no NUL");
        });
    });
    group.bench_function("Parse", |bencher| {
        bencher.iter(|| {
            out.clear();
            ask::parse(b"veneer_1", black_box(sql.as_bytes()), &[0, 0], &mut out);
        });
    });
    let body = b"\0\0\0\x01\0\0\0\x0212\0\0";
    group.bench_function("Bind, Execute, Sync", |bencher| {
        bencher.iter(|| {
            out.clear();
            ask::bind_front(b"", black_box(b"veneer_1"), body.len(), &mut out);
            out.put_slice(body);
            ask::execute("", &mut out);
            ask::sync(&mut out);
        });
    });
    group.bench_function("CommandComplete, ReadyForQuery", |bencher| {
        bencher.iter(|| {
            out.clear();
            answer::command_complete(black_box("SET"), &mut out);
            answer::ready(Status::Idle, &mut out);
        });
    });
    group.finish();
}

fn setting_map(settings: &[(&str, &str)]) -> SettingMap {
    let told = |(name, value): &(&str, &str)| ((*name).to_owned(), Told::Text((*value).into()));
    SettingMap::new(settings.iter().map(told).collect::<BTreeMap<_, _>>())
}

fn settings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("settings");
    let one = [("search_path", "tenant1, public")];
    let several = [
        ("application_name", "shop"),
        ("datestyle", "ISO, DMY"),
        ("search_path", "tenant1, public"),
        ("statement_timeout", "5s"),
        ("timezone", "Europe/Vienna"),
    ];
    let (none, path, all) = (SettingMap::default(), setting_map(&one), setting_map(&several));
    let other = setting_map(&[("search_path", "tenant2, public")]);
    let cases = [
        ("none, the same map", &all, all.clone()),
        ("none, another map", &all, setting_map(&several)),
        ("the path", &path, other),
        ("the path and four more", &all, none),
    ];
    for (name, wanted, told) in &cases {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(wanted).difference(Some(black_box(told))));
        });
    }
    group.finish();
}

/// A PostgreSQL that greets whoever comes, and then listens and says nothing.
async fn greet(mut socket: TcpStream) -> std::io::Result<()> {
    let length = socket.read_u32().await? as usize;
    socket.read_exact(&mut vec![0; length - 4]).await?;
    let mut out = BytesMut::new();
    answer::authentication_ok(&mut out);
    answer::parameter_status("standard_conforming_strings", "on", &mut out);
    out.put_slice(b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02");
    answer::ready(Status::Idle, &mut out);
    socket.write_all(&out).await?;
    while socket.read(&mut [0; 64]).await? != 0 {}
    Ok(())
}

async fn silent_shard() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(greet(socket));
        }
    });
    address
}

fn pools(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads");
    // A pool is made where a runtime is.
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("pool");
    let tenant = SchemaName::stored("acme").expect("a good name");
    let line = Arc::new(Line::new(2));
    group.bench_function("a free seat of the line", |bencher| {
        bencher.iter(|| line.free_seat().expect("nobody else sits"));
    });
    let narrow = Arc::new(Line::new(1));
    group.bench_function("a seat handed on to one who waits", |bencher| {
        bencher.iter_custom(|count| runtime.block_on(hand_on(&narrow, &tenant, count)));
    });
    let address = runtime.block_on(silent_shard());
    let address =
        Address { host: address.ip().to_string(), port: address.port(), database: "d".into() };
    let shard = Shard { name: ShardName::stored("one").expect("a good name"), address };
    let role = RoleName::stored("joe").expect("a good name");
    let login = BackendLogin { role, password: None, md5: false };
    let pools = Pools::new(pool::Settings::default());
    group.bench_function("find the pool", |bencher| {
        bencher.iter(|| pools.pool(black_box(&shard), black_box(&login)));
    });
    let pool = pools.pool(&shard, &login);
    group.bench_function("lease and give back", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let since = Instant::now();
                for _ in 0..count {
                    pool.lease(Some(&tenant)).await.expect("a backend").give_back();
                }
                since.elapsed()
            })
        });
    });
    group.finish();
}

/// Two take turns on one seat, in one task: each hand-over wakes the other.
async fn hand_on(line: &Arc<Line>, tenant: &SchemaName, count: u64) -> Duration {
    let mut seat = line.free_seat().expect("nobody else sits");
    let since = Instant::now();
    for _ in 0..count {
        let next = line.seat(Some(tenant));
        let leave = async { drop(seat) };
        (seat, ()) = tokio::join!(next, leave);
    }
    since.elapsed()
}

fn snapshot(tenants: usize) -> Snapshot {
    let shard = |name: &str| {
        let address = Address { host: "h".into(), port: 1, database: "d".into() };
        Shard { name: ShardName::stored(name).expect("a good name"), address }
    };
    let shards = ["home", "one", "two"];
    let tenant = |number: usize| {
        let name = SchemaName::stored(&tenant_name(number)).expect("a good name");
        let shard = ShardName::stored(shards[number % shards.len()]).expect("a good name");
        (name, shard, Standing::Active)
    };
    let home = ShardName::stored("home").expect("a good name");
    Snapshot::new(home, shards.map(shard), (0..tenants).map(tenant)).expect("a sound directory")
}

fn tenant_name(number: usize) -> String {
    format!("tenant_{number:06}")
}

fn directories(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("directory");
    for tenants in [10, 10_000, 100_000] {
        let snapshot = snapshot(tenants);
        // Not in the order of anything, so that the processor has nothing to foresee.
        let names: Vec<_> = (0..tenants).map(|at| tenant_name(at * 7_919 % tenants)).collect();
        let mut names = names.iter().cycle();
        group.bench_function(BenchmarkId::new("one of", tenants), |bencher| {
            bencher.iter(|| {
                snapshot.residence(names.next().expect("no end")).expect("a tenant").standing
            });
        });
        group.bench_function(BenchmarkId::new("the same of", tenants), |bencher| {
            let name = tenant_name(7);
            bencher.iter(|| snapshot.residence(black_box(&name)).expect("a tenant").standing);
        });
    }
    let directory = Directory::new(snapshot(10));
    group.bench_function("the snapshot of now", |bencher| bencher.iter(|| directory.snapshot()));
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let reader = Reader::new(&Default::default());
    let routing = router::Settings::default();
    let (path, start_path) = (Path::read("tenant_000007, public", "joe"), Path::default());
    let asker = Asker {
        settings: &routing,
        user: "joe",
        may_use: &|_| true,
        role: "joe",
        scope: None,
        path: &path,
        start_scope: None,
        start_path: &start_path,
        earlier: &[],
        affinity: None,
    };
    let texts = [
        ("by the path", point_select(1, 0)),
        ("by a name", "SELECT * FROM tenant_000003.users WHERE id = 1".to_owned()),
        ("nowhere", "SELECT 1".to_owned()),
        ("seven tables", orm_select(1, 0)),
        ("SET and SELECT", "SET search_path = tenant_000003; SELECT * FROM users".to_owned()),
    ];
    for tenants in [10, 100_000] {
        let directory = snapshot(tenants);
        for (name, sql) in &texts {
            let text = reader.read_now(sql.as_bytes()).expect("it is SQL");
            group.bench_function(BenchmarkId::new(*name, tenants), |bencher| {
                bencher
                    .iter(|| router::route(black_box(&text), &asker, &directory).expect("a way"));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = pieces;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = plans, frames, writes, settings, pools, directories, routes
}
criterion_main!(pieces);
