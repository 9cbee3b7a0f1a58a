//! What real clients send (asyncpg, Django, Prisma, Rails, Sequelize, SQLAlchemy and others).

use veneer::demo::shard::DATABASE;

use super::Bench;
use crate::support::served::Wanted;
use crate::support::transcript::Transcript;
use crate::support::wire::{Door, Until};
use crate::support::{direct, message, world};

const HOME: usize = 1;

/// A statement in the simple protocol, then as drivers send it in the extended one.
fn both(sql: &str) -> String {
    format!("{}{}", simple(sql), extended(sql))
}

fn simple(sql: &str) -> String {
    format!("Query {sql}\n\n")
}

fn extended(sql: &str) -> String {
    format!("Parse - - {sql}\nBind - -\nDescribe P -\nExecute - 0\nSync\n\n")
}

fn as_lines(lines: &[&str], say: impl Fn(&str) -> String) -> String {
    lines.iter().map(|line| say(line)).collect()
}

#[tokio::test]
async fn connecting_and_resetting() {
    let bench = Bench::build("clients_reset").await;
    let look = as_lines(
        &["SHOW search_path", "SHOW timezone", "SHOW work_mem", "SELECT count(*) FROM authors"],
        both,
    );
    let changes = "Query SET search_path = T2\n\nQuery SET timezone = 'Asia/Tokyo'\n\n\
                   Query SET work_mem = '1MB'\n\n";
    // asyncpg, when a connection goes back to its pool.
    let asyncpg = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;";
    let sequelize =
        "SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE;";
    let first = ["select pg_catalog.version()", "show standard_conforming_strings"];
    let sqlalchemy = "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns \
                      ON typnamespace = ns.oid WHERE typname = 'hstore'";
    // The tables of other tests have array types, too.
    let postgres_js = "select b.oid, b.typarray from pg_catalog.pg_type a \
                       left join pg_catalog.pg_type b on b.oid = a.typelem \
                       where a.typcategory = 'A' and a.oid < 16384";
    let scripts = [
        format!("{changes}Query {asyncpg}\n\n{look}"),
        format!(
            "{changes}Query SELECT pg_advisory_lock(8001)\n\nQuery LISTEN clients\n\n\
             Query DECLARE c CURSOR WITH HOLD FOR SELECT 1\n\nQuery {asyncpg}\n\n\
             Query SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()\n\n\
             Query SELECT pg_listening_channels()\n\nQuery FETCH c\n\n{look}"
        ),
        format!("Query {asyncpg}\n\n{look}"),
        format!(
            "Query BEGIN\n\n{changes}Query SELECT 1 / 0\n\nQuery ROLLBACK\n\nQuery {asyncpg}\n\n{look}"
        ),
        format!(
            "Query {sequelize}\n\nQuery SHOW client_min_messages\n\nQuery SHOW timezone\n\n\
             Query SELECT '2025-01-01 00:00+02'::timestamptz\n\nQuery SELECT warn()\n\n"
        ),
        format!(
            "Query {sequelize}\n\nQuery SET search_path = T2\n\nQuery SELECT count(*) FROM books\n\n\
             Query SHOW timezone\n\nQuery RESET ALL\n\nQuery SHOW timezone\n\nQuery SHOW search_path\n\n"
        ),
        both(sqlalchemy),
        both(postgres_js),
        format!("Query BEGIN; {}\n\nQuery {}\n\nQuery ROLLBACK\n\n", first[0], first[1]),
        format!(
            "{}{}{}{}",
            extended("BEGIN"),
            extended(first[0]),
            extended(first[1]),
            extended("ROLLBACK")
        ),
        format!(
            "{}Query BEGIN\n\n{}{}Query ROLLBACK\n\n",
            simple(first[1]),
            extended(first[0]),
            extended(first[1])
        ),
        format!(
            "{}{}",
            extended("SELECT pg_advisory_lock(72707369)"),
            both("SELECT pg_advisory_unlock(72707369)")
        ),
        format!(
            "{}Query SELECT count(*) FROM books\n\nQuery SELECT pg_advisory_unlock(72707369)\n\n\
             Query SELECT pg_advisory_unlock(72707369)\n\n",
            both("SELECT pg_advisory_lock(72707369)"),
        ),
    ];
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// One tenant, chosen in every way that a connection string has.
#[tokio::test]
async fn connection_strings() {
    let bench = Bench::build("clients_dsn").await;
    let tenant = bench.tenants[0].as_str();
    let options = |text: &str| vec![("options", text.replace("acme", tenant))];
    let ways = [
        // `?options=-csearch_path%3Dacme%2Cpublic`, and PGOPTIONS.
        options("-csearch_path=acme,public"),
        options("-c search_path=acme"),
        options("-c search_path=acme,public -c work_mem=2MB"),
        options("--search_path=acme"),
        // `?search_path=acme`, and pgjdbc's `?currentSchema=acme`.
        vec![("search_path", tenant.to_owned())],
        vec![("search_path", format!("{tenant},public"))],
        vec![("search_path", format!("\"{tenant}\", public")), ("application_name", "x".into())],
        [options("-c veneer.tenant=acme"), vec![("search_path", tenant.to_owned())]].concat(),
    ];
    let look = [
        "SHOW search_path",
        "SELECT current_schema(), current_setting('search_path')",
        "SELECT name FROM authors ORDER BY id",
        "SELECT 'books'::regclass",
    ];
    let look = as_lines(&look, both);
    for way in ways {
        let mut told = Vec::new();
        for door in [bench.straight("app"), bench.veneer.door("app")] {
            bench.reset().await;
            let door = way.iter().fold(door, |door, (name, value)| door.with(name, value));
            told.push(door.open().await.play(&look).await);
        }
        assert_eq!(told[0], told[1], "{way:?}");
    }
    // Prisma's `?schema=acme` is a SET.
    let prisma = format!("{}{look}", simple("SET search_path = \"{T}\""));
    bench.check_as("app", "", &[&prisma]).await;
    // What PostgreSQL does not know: the answers are those of the tenant's own path.
    let by_path = bench.straight("app").with("search_path", tenant);
    let scoped = Door { database: format!("bookstore@{tenant}"), ..bench.veneer.door("app") };
    let asks = as_lines(&["SELECT count(*) FROM T.authors", "SELECT T.f(1)"], both);
    let asks = asks.replace("T.", &format!("{tenant}."));
    assert_eq!(scoped.open().await.play(&asks).await, by_path.open().await.play(&asks).await);
}

/// Tables of a tenant and of `public` in one statement: both are on home.
#[tokio::test]
async fn a_tenant_joined_with_what_all_share() {
    let bench = Bench::build_with("clients_shared", HOME, Wanted::default()).await;
    let mut config = world().shard(HOME).cluster.superuser_config();
    let database = direct(config.dbname(DATABASE)).await;
    let made = format!(
        "CREATE TABLE public.cust_client (id int PRIMARY KEY, name text);
         INSERT INTO public.cust_client VALUES (1, 'one'), (2, 'two');
         CREATE TABLE public.users (id int PRIMARY KEY, email text);
         INSERT INTO public.users VALUES (1, 'a@example.org');
         CREATE TABLE public.plans (id int PRIMARY KEY, name text);
         INSERT INTO public.plans VALUES (1, 'free');
         GRANT ALL ON public.cust_client, public.users, public.plans TO PUBLIC;
         CREATE TABLE {tenant}.shop_item (id int DEFAULT 7, name text, owner_id int);
         INSERT INTO {tenant}.shop_item VALUES (1, 'thing', 1), (2, 'other', 9);
         CREATE TABLE {tenant}.orders (id int, plan_id int);
         INSERT INTO {tenant}.orders VALUES (5, 1);
         GRANT ALL ON {tenant}.shop_item, {tenant}.orders TO PUBLIC;
         ALTER TABLE {tenant}.shop_item OWNER TO bookstore_admin;",
        tenant = bench.tenants[0]
    );
    database.batch_execute(&made).await.unwrap();
    let path = "SET search_path = \"{T}\",\"public\"";
    let join = "SELECT i.*, c.* FROM \"shop_item\" i LEFT OUTER JOIN \"cust_client\" c ON i.owner_id = c.id";
    let insert = "INSERT INTO \"shop_item\" (\"name\",\"owner_id\") VALUES ('x',1) \
                  RETURNING \"shop_item\".\"id\"";
    let orders = "SELECT * FROM T.orders o JOIN public.plans p ON p.id = o.plan_id";
    let user = "SELECT * FROM \"public\".\"users\" WHERE id = $1";
    let plan = "INSERT INTO public.plans VALUES (2, 'paid') RETURNING *";
    let key = "ALTER TABLE \"shop_item\" ADD CONSTRAINT \"owner\" FOREIGN KEY (\"owner_id\") \
               REFERENCES \"cust_client\" (\"id\") DEFERRABLE INITIALLY DEFERRED";
    let bound = format!("Parse - - {user}\nBind - - 1\nDescribe P -\nExecute - 0\nSync\n\n");
    let undone = |sql: &str| format!("Query BEGIN\n\n{}Query ROLLBACK\n\n", both(sql));
    let scripts = [
        format!("{}{}", both(path), both(join)),
        format!("{}{}", simple(path), undone(insert)),
        format!("{}{}", simple(path), bound),
        bound.clone(),
        both(orders),
        format!("{}{}", simple(path), both(orders)),
        format!(
            "Query BEGIN\n\n{}{}Query SELECT count(*) FROM public.plans\n\nQuery ROLLBACK\n\n",
            simple(plan),
            extended("INSERT INTO public.plans VALUES (3, 'more')")
        ),
        format!(
            "{}Query BEGIN\n\n{}Query SELECT count(*) FROM shop_item\n\nQuery ROLLBACK\n\n",
            simple(path),
            simple(plan)
        ),
    ];
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bench.check_as("app", "", &scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let alter = format!("{}{}", simple(path), undone(key));
    let alter_extended =
        format!("{}Query BEGIN\n\n{}Query ROLLBACK\n\n", simple(path), extended(key));
    // The first takes the lock that the second wants, so each in its own transaction.
    let deferred = format!(
        "{}Query BEGIN\n\nQuery DELETE FROM shop_item WHERE owner_id = 9\n\n{}\
         Query INSERT INTO shop_item (owner_id) VALUES (77)\n\nQuery COMMIT\n\n\
         Query SELECT count(*) FROM shop_item\n\n",
        simple(path),
        simple(key)
    );
    let scripts = [alter, alter_extended, deferred];
    bench.check_as("admin", "", &scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    database
        .batch_execute(
            "DROP TABLE public.cust_client CASCADE; DROP TABLE public.users, public.plans",
        )
        .await
        .unwrap();
}

/// Definitions inside of a tenant are PostgreSQL's business.
#[tokio::test]
async fn rights_and_names_in_a_tenant() {
    let bench = Bench::build("clients_ddl").await;
    let undone = |lines: &[&str], say: fn(&str) -> String| {
        format!("Query BEGIN\n\n{}Query ROLLBACK\n\n", as_lines(lines, say))
    };
    let lines = [
        "GRANT USAGE ON SCHEMA {T} TO bookstore_app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_admin IN SCHEMA {T} GRANT SELECT ON TABLES TO bookstore_app",
        "CREATE TABLE T.t (id int)",
        "ALTER TABLE T.t SET SCHEMA T2",
        "SELECT count(*) FROM T2.t",
        "SAVEPOINT s",
        "CREATE TABLE T.u (id int)",
        "RELEASE SAVEPOINT s",
        "SELECT count(*) FROM T.u",
    ];
    let clone = "SELECT clone_schema('template','{T}','DATA')";
    let scripts = [undone(&lines, simple), undone(&lines, extended), both(clone)];
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let tenant = bench.tenants[0].clone();
    bench.check_as("admin", &tenant, &scripts).await;
    bench.check_as("admin", "", &scripts[..2]).await;
}

#[tokio::test]
async fn cursors_of_django() {
    let bench = Bench::build("clients_cursor").await;
    let declare =
        "DECLARE \"_django_curs_1\" NO SCROLL CURSOR FOR SELECT id FROM authors ORDER BY id";
    let held = "DECLARE \"_django_curs_1\" NO SCROLL CURSOR WITH HOLD FOR SELECT id, name FROM authors ORDER BY id";
    let fetch = "FETCH FORWARD 2000 FROM \"_django_curs_1\"";
    let two = "FETCH FORWARD 2 FROM \"_django_curs_1\"";
    let close = "CLOSE \"_django_curs_1\"";
    let mut scripts = Vec::new();
    for say in [simple, extended] {
        scripts.push(format!(
            "{}{}{}{}{}{}{}",
            say("BEGIN"),
            say(declare),
            say(two),
            say(fetch),
            say(fetch),
            say(close),
            say("COMMIT")
        ));
        // Outside of a transaction.
        scripts.push(format!(
            "{}{}Query SELECT count(*) FROM books\n\n{}{}{}{}",
            say(held),
            say(two),
            say(fetch),
            say(fetch),
            say(close),
            say(fetch)
        ));
        // A path that moves on does not move the cursor.
        scripts.push(format!(
            "{}{}Query SET search_path = T2\n\nQuery DELETE FROM books\n\n{}{}Query SELECT current_schema()\n\n",
            say(held), say(two), say(fetch), say(close)
        ));
        scripts.push(format!(
            "{}{}Query SET LOCAL search_path = T2\n\n{}Query ROLLBACK\n\n{}",
            say("BEGIN"),
            say(declare),
            say(fetch),
            say(fetch)
        ));
        scripts.push(format!("{}{}", say(declare), say(fetch)));
        scripts.push(format!(
            "{}{}{}{}{}",
            say("BEGIN"),
            say(held),
            say("SELECT 1 / 0"),
            say("ROLLBACK"),
            say(fetch)
        ));
    }
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// `PREPARE`, `EXECUTE`, `DEALLOCATE`, temporary tables, advisory locks, LISTEN: with a change of
/// the tenant between them.
#[tokio::test]
async fn state_that_a_backend_keeps() {
    let bench = Bench::build("clients_keep").await;
    let mut scripts = Vec::new();
    for say in [simple, extended] {
        for change in ["SET search_path = T2", "SELECT set_config('search_path', 'T2', false)"] {
            scripts.push(as_lines(
                &[
                    "PREPARE q (int) AS SELECT current_schema(), count(*) FROM books WHERE $1 < id",
                    "EXECUTE q(0)",
                    change,
                    "EXECUTE q(1)",
                    "RESET search_path",
                    "EXECUTE q(2)",
                    "DEALLOCATE q",
                    "EXECUTE q(0)",
                    "SHOW search_path",
                ],
                say,
            ));
            scripts.push(as_lines(
                &[
                    "CREATE TEMP TABLE t AS SELECT name FROM authors WHERE id = 1",
                    change,
                    "SELECT t.name, count(*) FROM t, books GROUP BY 1",
                    "BEGIN",
                    "INSERT INTO t VALUES ('x')",
                    "ROLLBACK",
                    "SELECT * FROM t",
                    "DISCARD TEMP",
                    "SELECT * FROM t",
                ],
                say,
            ));
            scripts.push(as_lines(
                &[
                    "SELECT pg_try_advisory_lock(8101)",
                    change,
                    "SELECT count(*) FROM books",
                    "SELECT pg_advisory_unlock(8101)",
                    "SELECT pg_advisory_unlock(8101)",
                    "SELECT pg_advisory_lock_shared(8101)",
                    "SELECT pg_advisory_unlock_all()",
                    "SELECT pg_advisory_unlock_shared(8101)",
                ],
                say,
            ));
        }
        scripts.push(as_lines(
            &[
                "PREPARE q AS SELECT 1",
                "PREPARE r AS SELECT 2",
                "DEALLOCATE ALL",
                "EXECUTE q",
                "EXECUTE r",
            ],
            say,
        ));
        scripts.push(as_lines(&["PREPARE q AS SELECT 1", "DISCARD ALL", "EXECUTE q"], say));
        scripts.push(as_lines(
            &["CREATE TEMP TABLE t (a int)", "DISCARD ALL", "SELECT * FROM t"],
            say,
        ));
        scripts.push(as_lines(
            &["BEGIN", "PREPARE q AS SELECT 1", "ROLLBACK", "EXECUTE q", "DEALLOCATE PREPARE q"],
            say,
        ));
        scripts.push(as_lines(
            &["DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DISCARD ALL", "FETCH c"],
            say,
        ));
        scripts.push(as_lines(
            &["SELECT pg_advisory_lock(8102)", "DISCARD ALL", "SELECT pg_advisory_unlock(8102)"],
            say,
        ));
        scripts.push(as_lines(
            &[
                "DISCARD PLANS",
                "DISCARD SEQUENCES",
                "DISCARD TEMP",
                "BEGIN",
                "DISCARD ALL",
                "ROLLBACK",
            ],
            say,
        ));
    }
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// LISTEN brings what others say, while the client itself says nothing.
#[tokio::test]
async fn notifications_reach_an_idle_client() {
    let bench = Bench::build("clients_notify").await;
    for door in [bench.straight("app"), bench.veneer.door("app")] {
        let door = door.with("search_path", &bench.tenants[0]);
        for listen in [simple("LISTEN clients_notify"), extended("LISTEN clients_notify")] {
            let mut wire = door.open().await;
            wire.play(&listen).await;
            for number in 0..3 {
                let said = format!("NOTIFY clients_notify, 'number {number}'");
                bench.keeper.batch_execute(&said).await.unwrap();
                let mut told = Transcript::default();
                told.frame(&wire.next().await.expect("a notification"));
                assert_eq!(
                    told.finish(),
                    format!("NotificationResponse clients_notify number {number}\n")
                );
            }
            // Its own comes with the answer, and at the end of a transaction.
            let told = wire.play("Query NOTIFY clients_notify, 'own'\n\nQuery BEGIN\n\nQuery NOTIFY clients_notify\n\nQuery COMMIT\n\nQuery UNLISTEN *").await;
            assert_eq!(told.matches("NotificationResponse clients_notify").count(), 2, "{told}");
            bench.keeper.batch_execute("NOTIFY clients_notify, 'nobody'").await.unwrap();
            let mut told = Transcript::default();
            let asked = message::query("SELECT count(*) FROM authors");
            wire.talk(&asked, Until::Ready(1), &mut told).await;
            let told = told.finish();
            assert!(told.starts_with("RowDescription") && !told.contains("Notification"), "{told}");
        }
    }
}
