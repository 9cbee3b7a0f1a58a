//! What is typed into psql, through veneer and straight to the shard: the same is printed.

use std::fmt::Write;
use std::io::Write as _;
use std::process::Stdio;

use crate::support::own::{OWNER, Own, TENANTS, USER, program};
use crate::support::wire::Door;

const KIT: &str = "
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 20);
CREATE TYPE pair AS (one int, two text);
CREATE TABLE authors (id int PRIMARY KEY, name short NOT NULL UNIQUE, mood mood DEFAULT 'happy');
CREATE TABLE books (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id int NOT NULL REFERENCES authors ON DELETE CASCADE,
    title text NOT NULL DEFAULT 'untitled',
    pages int CHECK (0 < pages),
    added date DEFAULT '2025-01-31'
);
COMMENT ON TABLE books IS 'what is read';
COMMENT ON COLUMN books.title IS 'its name';
CREATE INDEX books_by_title ON books (lower(title)) WHERE pages IS NOT NULL;
CREATE STATISTICS books_pages ON author_id, pages FROM books;
CREATE SEQUENCE tickets START 10;
CREATE VIEW titles AS SELECT title FROM books;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM books;
CREATE TABLE logs (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE logs_2025 PARTITION OF logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamped BEFORE UPDATE ON books FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE RULE quiet AS ON DELETE TO authors DO ALSO NOTHING;
ALTER TABLE logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON logs USING (true);
INSERT INTO authors VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO books (author_id, title, pages) VALUES (1, 'Alpha', 10), (2, 'Beta', NULL);
";

/// With the tenant as `T`.
const NAMED: &[&str] = &[
    "\\d T.books",
    "\\d+ T.books",
    "\\d T.authors",
    "\\d+ T.titles",
    "\\d T.tickets",
    "\\d T.books_by_title",
    "\\d+ T.logs",
    "\\d T.logs_2025",
    "\\d T.pair",
    "\\d T.*",
    "\\d T.b*",
    "\\d T.nothing",
    "\\dt T.*",
    "\\dt+ T.*",
    "\\df T.*",
    "\\df+ T.twice",
    "\\di T.*",
    "\\dv T.*",
    "\\dm T.*",
    "\\ds T.*",
    "\\dT T.*",
    "\\dT+ T.*",
    "\\dD T.*",
    "\\dp T.*",
    "\\z T.books",
    "\\ddp T.*",
    "\\dd T.*",
    "\\dX T.*",
    "\\do T.*",
    "\\dc T.*",
    "\\dO T.*",
    "\\dy",
    "\\dP T.*",
    "\\sf T.twice",
    "\\sf+ T.twice(int)",
    "\\sv T.titles",
    "\\dn T",
    "SELECT * FROM T.books\\gdesc",
    "SELECT title, pages FROM T.books ORDER BY 1;",
    "TABLE T.authors \\gx",
    "SELECT relname FROM pg_class WHERE relnamespace = 'T'::regnamespace ORDER BY 1;",
];

/// By the path.
const BY_PATH: &[&str] = &[
    "\\dt",
    "\\d",
    "\\d books",
    "\\d+ books",
    "\\di",
    "\\dv",
    "\\ds",
    "\\dT",
    "\\df",
    "\\dp",
    "\\dD",
    "\\dm",
    "\\dX",
    "\\sf twice",
    "\\sv titles",
    "\\d nothing",
    "SELECT * FROM books\\gdesc",
    "SELECT twice(pages) FROM books ORDER BY 1;",
    "\\dx",
    "\\dconfig search_path",
    "\\encoding",
    "SHOW search_path;",
    "SELECT current_schema();",
];

/// Runs psql on a script; gives all that it prints.
async fn psql(door: &Door, script: &str) -> String {
    let mut command = program("psql", door);
    command.args(["-X", "-v", "VERBOSITY=verbose"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let script = script.to_owned();
    let run = move || {
        let mut child = command.spawn().expect("psql is there");
        let mut stdin = child.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output().expect("psql ends");
        writer.join().expect("no panic").expect("psql reads");
        let errors = String::from_utf8_lossy(&output.stderr);
        String::from_utf8_lossy(&output.stdout).into_owned() + "-- errors --\n" + &errors
    };
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

/// A script's commands, each behind a line that tells its place in the list.
fn script(tenant: &str, commands: &[String]) -> String {
    let mut script = String::new();
    for (index, command) in commands.iter().enumerate() {
        let label = format!("-- {tenant} {index}");
        let _ = writeln!(script, "\\echo {label}\n\\warn {label}\n{command}");
    }
    script
}

/// The tenants' parts of what one psql prints, which is what each shard's own psql prints.
async fn compare(
    own: &Own,
    user: &str,
    door: impl Fn(Door) -> Door,
    commands: impl Fn(&str) -> Vec<String>,
) {
    let all = TENANTS.map(|(tenant, _)| script(tenant, &commands(tenant)));
    let through = psql(&door(own.through(user)), &all.concat()).await;
    let (mut printed, mut errors) = (String::new(), String::new());
    for (tenant, shard) in TENANTS {
        let told = psql(&door(own.straight(shard, user)), &script(tenant, &commands(tenant))).await;
        let (told, said) = told.split_once("-- errors --\n").expect("both");
        printed.push_str(told);
        errors.push_str(said);
    }
    let straight = printed + "-- errors --\n" + &errors;
    if through != straight {
        let (mut straight, mut through) = (straight.lines(), through.lines());
        let mut last = "";
        let (expected, got) = loop {
            let pair = (straight.next(), through.next());
            last = pair.0.filter(|line| line.starts_with("-- ")).unwrap_or(last);
            if pair.0 != pair.1 {
                break pair;
            }
        };
        let rest: Vec<&str> = through.take(5).collect();
        let mut place = last.split(' ').skip(1);
        let commands = commands(place.next().unwrap_or_default());
        let index: usize = place.next().map_or(0, |index| index.parse().unwrap());
        let last = &commands[index];
        panic!("as {user}, at {last}\n- {expected:?}\n+ {got:?}\n{rest:#?}");
    }
    own.assert_alive();
}

fn for_tenant(commands: &[&str], tenant: &str) -> Vec<String> {
    let with_tenant = |command: &&str| {
        let command =
            command.replace("T.", &format!("{tenant}.")).replace("'T'", &format!("'{tenant}'"));
        command.strip_suffix(" T").map(|front| format!("{front} {tenant}")).unwrap_or(command)
    };
    commands.iter().map(with_tenant).collect()
}

#[tokio::test]
async fn commands_that_name_a_tenant() {
    let own = Own::build("psql_named", KIT).await;
    for user in [USER, OWNER] {
        compare(&own, user, |door| door, |tenant| for_tenant(NAMED, tenant)).await;
    }
    // The path does not matter.
    let inside = |door: Door| door.with("options", "-csearch_path=crane,public");
    compare(&own, OWNER, inside, |tenant| for_tenant(&NAMED[..30], tenant)).await;
}

#[tokio::test]
async fn commands_by_the_path() {
    let own = Own::build("psql_path", KIT).await;
    for user in [USER, OWNER] {
        let commands = |tenant: &str| {
            let mut commands = vec![format!("SET search_path = {tenant};")];
            commands.extend(BY_PATH.iter().map(|command| (*command).to_owned()));
            commands
        };
        compare(&own, user, |door| door, commands).await;
    }
}

#[tokio::test]
async fn rows_in_and_out() {
    let own = Own::build("psql_rows", KIT).await;
    let file = own.dir.join("rows.csv");
    let rows: String = (10..3000).map(|n| format!("{n},\"name, {n}\"\n")).collect();
    std::fs::write(&file, &rows).unwrap();
    let file = file.display();
    let commands = |tenant: &str| {
        vec![
            format!("\\copy {tenant}.authors(id, name) from '{file}' (format csv)"),
            format!("\\copy {tenant}.authors ( name ) to stdout"),
            format!("SET search_path = {tenant};"),
            "\\copy (SELECT id FROM authors WHERE id < 20 ORDER BY 1) to stdout csv header".to_owned(),
            "COPY authors (id, name) FROM STDIN;\n7\tseven\n8\teight\n\\.".to_owned(),
            "COPY authors FROM STDIN;\nseven\n\\.".to_owned(),
            "SELECT count(*), max(name) FROM authors;".to_owned(),
            "DELETE FROM authors WHERE 2 < id;".to_owned(),
            "ALTER SEQUENCE tickets RESTART 10;".to_owned(),
            // It goes on until it fails.
            "\\pset title 'watched'\n\\o /dev/null\nSELECT 1 / (13 - nextval('tickets')) \\watch 0.01\n\\o\n\\pset title".to_owned(),
            "SELECT nextval('tickets');".to_owned(),
            format!("SELECT format('SELECT %s FROM {tenant}.authors', n) FROM generate_series(1, 2) n \\gexec"),
            format!("SELECT title AS got FROM {tenant}.books WHERE pages = 10 \\gset\n\\echo :got"),
            "\\set FETCH_COUNT 1\nSELECT title FROM books ORDER BY 1;\n\\unset FETCH_COUNT".to_owned(),
            "RESET search_path;".to_owned(),
        ]
    };
    compare(&own, OWNER, |door| door, commands).await;
}

#[tokio::test]
async fn commands_about_the_whole() {
    let own = Own::build("psql_whole", KIT).await;
    let oracle = own.oracle(KIT).await;
    for path in ["", "crane"] {
        let door = |door: Door| match path {
            "" => door,
            path => door.with("options", &format!("-csearch_path={path}")),
        };
        for command in ["\\dn", "\\dn b*", "\\du bookstore*", "\\dg bookstore_app", "\\dn nobody"] {
            let through = psql(&door(own.through(USER)), command).await;
            assert_eq!(through, psql(&door(oracle.clone()), command).await, "{command}");
        }
        for command in [format!("\\l {}", own.database), "\\db".to_owned(), "\\conninfo".to_owned()]
        {
            let through = psql(&door(own.through(USER)), &command).await;
            let straight = psql(&door(own.straight(1, USER)), &command).await;
            let port = |door: &Door| format!("port \"{}\"", door.port);
            let straight =
                straight.replace(&port(&own.straight(1, USER)), &port(&own.through(USER)));
            assert_eq!(through, straight, "{command}");
        }
    }
    // A psql that is scoped sees one shard, and \d without a name is of the path.
    for (tenant, shard) in TENANTS {
        let scoped = own.through(USER).with("options", &format!("-cveneer.tenant={tenant}"));
        let by_name = Door { database: format!("{}@{tenant}", own.database), ..own.through(USER) };
        for command in ["\\dn", "\\dt *.books", "\\d *.logs", "SELECT current_database();"] {
            let straight = psql(&own.straight(shard, USER), command).await;
            assert_eq!(psql(&scoped, command).await, straight, "{command} {tenant}");
            assert_eq!(psql(&by_name, command).await, straight, "{command} {tenant}");
        }
    }
    own.assert_alive();
}
