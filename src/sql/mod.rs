//! What a statement says: the only door to the SQL parser.
//!
//! Nothing here knows of tenants, shards or sessions. A [`Statement`] is a list of facts;
//! the router and the session draw conclusions from them.

mod bound;
mod fallback;
mod functions;
mod guard;
mod keywords;
mod leaves;
mod lex;
mod literal;
mod parse;
pub mod path;
mod reader;
mod relations;
mod shape;
mod shorten;
mod tree;
mod walk;

pub use bound::Bound;
pub use leaves::{Frees, Keep, Keeps, Leaves};
pub use lex::first_word;
pub use literal::Reading;
pub use reader::{Reader, Settings};

use std::sync::Arc;

/// What one text of SQL says: its statements, in order. An empty text has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    pub statements: Vec<Statement>,
}

impl Text {
    /// COMMIT or ROLLBACK, and nothing else.
    pub fn ends_transaction(&self) -> bool {
        matches!(&self.statements[..], [statement] if statement.act.ends_transaction())
    }

    /// A command that takes no parameters and gives no rows.
    pub fn is_rowless(&self) -> bool {
        matches!(&self.statements[..], [statement] if statement.act.is_rowless())
    }

    /// Whether a statement stands behind one that ends the transaction, or a part of it.
    pub fn goes_on_after_its_transaction(&self) -> bool {
        let before_last = self.statements.split_last().map_or(&[][..], |(_, before)| before);
        before_last.iter().any(|statement| statement.act.ends_transaction())
    }
}

/// The facts about one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub access: Access,
    /// Every schema that it names, each (schema, kind) once.
    pub names: Vec<Name>,
    /// It names a relation (or a DDL target) without a qualifier, so the path decides.
    /// Catalogue relations (`pg_class`, …), CTE names and aliases do not count.
    pub unqualified: bool,
    /// What it asks, if it reads relations or functions of `pg_catalog` / `information_schema`,
    /// and no others.
    pub catalogue: Option<Catalogue>,
    pub act: Act,
    /// `set_config` calls in it, in order. (`SET` itself is an [`Act`].)
    pub set_configs: Vec<Change>,
    pub leaves: Leaves,
    /// It looks an object up by an unqualified name in a literal or a value: `nextval('t_id_seq')`.
    pub looks_up: bool,
    pub frees: Frees,
    /// `currval`, `lastval`: the answer is in the backend that served the session before.
    pub asks_sequence: bool,
    /// Bound parameters, counted from 1, whose value may name a schema as a `Perhaps` literal
    /// would: `nextval($1)`, `$1::regclass`, `table_schema = $1` in a catalogue statement.
    pub parameters: Vec<Parameter>,
}

/// What a query of the catalogue asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    pub about: About,
    /// It names an object by the number (OID) that some shard has given it.
    pub numbers: bool,
    /// Bound parameters, counted from 1, whose value may be such a number.
    pub number_parameters: Vec<u16>,
}

/// What a query of the catalogue is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// Which schemas there are, or roles, or databases, by name: home knows all of them.
    Schemas,
    /// What a shard alone knows.
    Objects,
}

/// A bound parameter, counted from 1, that may name a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Parameter {
    pub number: u16,
    pub reading: Reading,
}

/// How a statement touches data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Nothing that belongs to anyone, and harmless to run twice or on any shard:
    /// `SELECT 1`, `SHOW x`, `SELECT version()`; also SET, BEGIN and the like.
    Nothing,
    /// A plain read.
    Read,
    /// Writes rows, locks rows, or runs code that may (unknown functions, CALL, DO).
    Write,
    /// Changes what a schema holds: CREATE TABLE, ALTER, GRANT … ON acme.t, COMMENT, …
    Define,
    /// CREATE, RENAME or DROP SCHEMA: a tenant's life.
    Lifecycle,
    /// Changes what all shards share: CREATE ROLE, CREATE EXTENSION, ALTER SYSTEM, CREATE
    /// DATABASE, `ALTER ROLE … SET`, … The text is the command's name, for the refusal.
    Shared(&'static str),
}

/// A schema that a statement names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// Folded, unquoted and cut as PostgreSQL does.
    pub schema: String,
    pub kind: NameKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// Qualifies a relation (table, view, sequence, index): `acme.t`.
    Relation,
    /// Qualifies something else (function, type, operator, collation …), or stands as a schema
    /// itself (`GRANT … ON SCHEMA acme`, `ALTER TABLE … SET SCHEMA acme`).
    Other,
    /// May be a schema, may be something else (`'acme.t'` in a literal, `acme.t.c` in an
    /// expression, `nspname = 'acme'`): counts only if it is a tenant.
    Perhaps,
}

/// What a statement does to the session, beyond its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    None,
    /// BEGIN, START TRANSACTION; `strict` when it asks for REPEATABLE READ or SERIALIZABLE.
    Begin {
        strict: bool,
    },
    /// COMMIT, END; `chain`: AND CHAIN.
    Commit {
        chain: bool,
    },
    /// ROLLBACK, ABORT (not TO).
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
    TwoPhase,
    /// SET TRANSACTION …, for this transaction only.
    SetTransaction {
        strict: bool,
    },
    /// SET, SET LOCAL, RESET x, SET x TO DEFAULT.
    Set(Change),
    ResetAll,
    DiscardAll,
    /// SQL-level PREPARE name AS …
    Prepare(String),
    /// SQL-level EXECUTE name.
    Execute(String),
    /// DEALLOCATE name, or all.
    Deallocate(Option<String>),
    Show(String),
    /// DECLARE … WITH HOLD.
    Hold(String),
    /// FETCH, MOVE, CLOSE of one cursor.
    Cursor(String),
    /// COPY … FROM STDIN / TO STDOUT: the wire changes its mode.
    Copy,
}

impl Act {
    fn is_rowless(&self) -> bool {
        !matches!(
            self,
            Self::None | Self::Prepare(_) | Self::Execute(_) | Self::Show(_) | Self::Copy
        )
    }

    /// COMMIT, ROLLBACK, ROLLBACK TO: settings become what they were before.
    pub fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit { .. } | Self::Rollback { .. } | Self::RollbackTo(_))
    }
}

/// One change of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Lower case. `SET SCHEMA` is `search_path`, `SET TIME ZONE` is `timezone`, `SET NAMES` is
    /// `client_encoding`. `$1` when it is bound.
    pub setting: String,
    pub value: Value,
    /// Ends with the transaction (SET LOCAL, `set_config(…, true)`).
    pub local: bool,
    /// The parameter, counted from 1, whose value says whether it is local.
    pub local_bound: Option<u16>,
}

/// The new value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Back to the start-up value.
    Default,
    /// As PostgreSQL's `set_config` takes it: for `search_path` a list in PostgreSQL's own
    /// spelling (`tenant1, public`; `"My Tenant", public`; `""`).
    Text(String),
    /// Cannot be said as one text; this statement, verbatim, sets it.
    Statement(String),
    /// A bound parameter, counted from 1.
    Parameter(u16),
    /// Computed by an expression: only the shard knows.
    Unknown,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the text has {bytes} bytes, and at most {bytes_max} are parsed")]
    Long { bytes: usize, bytes_max: usize },
    /// Comments, operators or nesting beyond a limit.
    #[error("the statement is too complex: {0}")]
    Complex(String),
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    NotUtf8,
    /// PostgreSQL's parser refuses it; its own words.
    #[error("{0}")]
    Syntax(String),
}

/// A text that has been read, shared by all who send it.
pub type Read = Result<Arc<Text>, ReadError>;
