//! PostgreSQL is the oracle: the same bytes straight to the shard and through veneer, and the
//! same answers, frame by frame.

mod bulk;
mod corners;
mod clients;
mod extended;
mod pipelines;
mod random;
mod settings;
mod statements;

use std::fmt::Write;

use tokio_postgres::Client;
use veneer::demo::shard::{ADMIN_ROLE, APP_ROLE, DATABASE, Shard};
use veneer::migrate::access;
use veneer::tenant::{RoleName, SchemaName};

use crate::support::served::{Veneer, Wanted};
use crate::support::transcript::told;
use crate::support::wire::{Door, Wire};
use crate::support::{direct, world};

/// Where the two tenants of most tests live; home is shard 1.
const SHARD: usize = 2;

const KIT: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL UNIQUE, mood mood DEFAULT 'ok');
CREATE TABLE books (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id int NOT NULL REFERENCES authors,
    title text NOT NULL DEFAULT 'untitled',
    pages int CHECK (0 < pages),
    added date DEFAULT '2025-01-31',
    UNIQUE (author_id, title)
);
CREATE SEQUENCE tickets;
CREATE VIEW titles AS SELECT title FROM books;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION complain(text) RETURNS int LANGUAGE plpgsql AS $$BEGIN
    RAISE NOTICE 'about to complain';
    RAISE EXCEPTION 'complaint: %', $1 USING DETAIL = 'of detail', HINT = 'a hint', ERRCODE = 'P0042',
        TABLE = 'books', COLUMN = 'title';
END$$;
CREATE FUNCTION warn() RETURNS int LANGUAGE plpgsql AS $$BEGIN
    RAISE WARNING 'careful' USING DETAIL = 'of detail', HINT = 'a hint';
    RETURN 1;
END$$;
CREATE PROCEDURE stamp(int) LANGUAGE sql AS 'UPDATE books SET pages = $1';
";

const RESET: &str = "
TRUNCATE authors, books RESTART IDENTITY CASCADE;
ALTER SEQUENCE tickets RESTART;
INSERT INTO authors VALUES (1, 'Ann', 'ok'), (2, 'Bob', 'happy'), (3, 'Cy', 'sad');
INSERT INTO books (author_id, title, pages) VALUES (1, 'Alpha', 10), (1, 'Beta', 20), (2, 'Gamma', NULL);
";

/// A veneer, a shard, and two tenants that both sides can see.
struct Bench {
    veneer: Veneer,
    keeper: Client,
    /// Where the tenants live.
    shard: &'static Shard,
    tenants: [String; 2],
}

impl Bench {
    async fn build(name: &str) -> Self {
        Self::build_with(name, SHARD, Wanted::default()).await
    }

    async fn build_with(name: &str, shard: usize, wanted: Wanted) -> Self {
        let shard = world().shard(shard);
        let keeper = direct(&shard.admin_config()).await;
        let tenants = [name.to_owned(), format!("{name}_b")];
        for tenant in &tenants {
            let schema = SchemaName::stored(tenant).unwrap();
            access::make_schema(&keeper, &schema, &RoleName::stored(APP_ROLE).unwrap())
                .await
                .unwrap();
            keeper.batch_execute(&format!("SET search_path = {tenant};{KIT}")).await.unwrap();
        }
        let wanted = tenants
            .iter()
            .fold(wanted, |wanted, tenant| wanted.tenant((tenant, shard.name, "active")));
        Self { veneer: wanted.start().await, keeper, shard, tenants }
    }

    async fn reset(&self) {
        for tenant in &self.tenants {
            let sql = format!("SET search_path = {tenant};{RESET}");
            self.keeper.batch_execute(&sql).await.unwrap();
        }
    }

    /// Straight to the shard, as the role that veneer uses for `user`.
    fn straight(&self, user: &str) -> Door {
        let shard = self.shard;
        let (role, password) = match user {
            "admin" => (ADMIN_ROLE, &shard.admin_password),
            _ => (APP_ROLE, &shard.app_password),
        };
        Door {
            port: shard.cluster.port(),
            user: role.to_owned(),
            password: password.clone(),
            database: DATABASE.to_owned(),
            settings: Vec::new(),
        }
    }

    /// Plays a script on both sides, from the same start; tells how they differ.
    async fn difference(&self, user: &str, path: &str, script: &str) -> Option<String> {
        // `T.` is the tenant, `T2.` its neighbour.
        let [one, two] = &self.tenants;
        let script = script.replace("T2", two).replace("T.", &format!("{one}."));
        let script = script.replace("'T'", &format!("'{one}'")).replace("{T}", one);
        let mut told = Vec::new();
        for door in [self.straight(user), self.veneer.door(user)] {
            self.reset().await;
            let door = if path.is_empty() { door } else { door.with("search_path", path) };
            told.push(masked(&door.open().await.play(&script).await));
        }
        (told[0] != told[1]).then(|| side_by_side(&told[0], &told[1]))
    }

    /// As `app` whose path is the tenant; a neighbour on the same backends must see nothing of it.
    async fn check_all(&self, scripts: &[&str]) {
        let tenant = self.tenants[0].clone();
        self.check_as("app", &tenant, scripts).await;
    }

    async fn check_as(&self, user: &str, path: &str, scripts: &[&str]) {
        let mut differences = String::new();
        for script in scripts {
            if let Some(difference) = self.difference(user, path, script).await {
                let _ = writeln!(differences, "── {script}\n{difference}");
            }
        }
        assert!(differences.is_empty(), "- PostgreSQL, + veneer\n{differences}");
        self.veneer.assert_alive();
    }

    /// Each line is a Query of its own, all on one connection.
    async fn check_queries(&self, scripts: &[&str]) {
        let scripts: Vec<String> = scripts.iter().map(|script| as_queries(script)).collect();
        self.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

/// Errors about names of statements and portals are veneer's own, and veneer has no places in
/// PostgreSQL's source to name. In a failed transaction a statement that the backend lacks is
/// refused at another place.
pub fn masked(transcript: &str) -> String {
    let ours = ["C=26000", "C=34000", "C=42P05", "C=25P02"];
    let mask = |line: &str| match line.split_once(" F=") {
        Some((front, _)) if ours.iter().any(|code| line.contains(code)) => front.to_owned(),
        _ => line.to_owned(),
    };
    transcript.lines().map(|line| mask(line) + "\n").collect()
}

fn as_queries(script: &str) -> String {
    let lines = script.lines().map(|line| format!("Query {}\n\n", line.trim()));
    lines.collect()
}

/// The lines that one side has and the other has not, where they stand.
fn side_by_side(straight: &str, through: &str) -> String {
    let (straight, through) = (straight.lines(), through.lines());
    let (straight, through): (Vec<_>, Vec<_>) = (straight.collect(), through.collect());
    let same = straight.iter().zip(&through).take_while(|(one, two)| one == two).count();
    let mut text = String::new();
    for line in &straight[same.saturating_sub(3)..same] {
        let _ = writeln!(text, "  {line}");
    }
    for (sign, lines) in [('-', &straight), ('+', &through)] {
        for line in lines[same..].iter().take(8) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    text
}

/// All that a shard says of itself at a login, in the order of names.
fn parameters(wire: &Wire) -> Vec<String> {
    let frames = wire.greeting.iter().filter(|frame| frame.tag == b'S');
    let mut told: Vec<String> = frames.map(|frame| told(frame, &mut Vec::new())).collect();
    told.sort();
    told
}

#[tokio::test]
async fn the_greeting() {
    let bench = Bench::build("oracle_greeting").await;
    for settings in [
        &[][..],
        &[("application_name", "näive app"), ("TimeZone", "Asia/Tokyo")],
        &[("options", "-c DateStyle=German --intervalstyle=iso_8601")],
        &[("client_encoding", "utf-8"), ("extra_float_digits", "2")],
    ] {
        let mut told = Vec::new();
        for door in [bench.straight("app"), bench.veneer.door("app")] {
            let door = settings.iter().fold(door, |door, (name, value)| door.with(name, value));
            told.push(parameters(&door.open().await));
        }
        assert_eq!(told[0], told[1], "{settings:?}");
    }
}
