//! Two tenants on one shard through ONE backend: never a foreign row.

use tokio::sync::OnceCell;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{direct, world};
use crate::veneer::Veneer;

const TENANTS: [&str; 2] = ["cyberdyne", "dunder_mifflin"];
/// Of each client; there are two.
const STATEMENTS: i32 = 5_000;

/// A table of the same name in both schemas, whose only row says whose it is.
async fn tables() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let shard = direct(&world().shard(2).admin_config()).await;
        for tenant in TENANTS {
            let sql = format!(
                "CREATE TABLE {tenant}.carried (tenant text NOT NULL, n int NOT NULL);
                 INSERT INTO {tenant}.carried SELECT '{tenant}', n FROM generate_series(0, 99) n"
            );
            shard.batch_execute(&sql).await.unwrap();
        }
    })
    .await;
}

/// Both clients at once; each statement gives its row's tenant.
async fn interleave<A, B>(mine: A, theirs: B)
where
    A: Future<Output = ()> + Send + 'static,
    B: Future<Output = ()> + Send + 'static,
{
    let (mine, theirs) = (tokio::spawn(mine), tokio::spawn(theirs));
    mine.await.unwrap();
    theirs.await.unwrap();
}

fn first_value(messages: &[SimpleQueryMessage]) -> &str {
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.and_then(|row| row.get(0)).expect("a row")
}

async fn simple(client: Client, tenant: &str) {
    for n in 0..STATEMENTS {
        let sql = format!("SELECT tenant FROM carried WHERE n = {}", n % 100);
        assert_eq!(first_value(&client.simple_query(&sql).await.unwrap()), tenant, "at {n}");
    }
}

async fn extended(client: Client, tenant: &str) {
    let sql = "SELECT tenant FROM carried WHERE n = $1";
    for n in 0..STATEMENTS {
        let number = n % 100;
        let rows = client.query_typed(sql, &[(&number, Type::INT4)]).await.unwrap();
        assert_eq!(rows[0].get::<_, &str>(0), tenant, "at {n}");
    }
}

async fn prepared(client: Client, tenant: &str) {
    let statement = client.prepare("SELECT tenant FROM carried WHERE n = $1").await.unwrap();
    for n in 0..STATEMENTS {
        let row = client.query_one(&statement, &[&(n % 100)]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), tenant, "at {n}");
    }
}

/// Chooses the tenant before each statement, as django-tenants does, in turns.
async fn turning(client: Client) {
    let statement = client.prepare("SELECT tenant FROM carried WHERE n = $1").await;
    assert_eq!(statement.unwrap_err().code().unwrap().code(), "42P01", "no tenant is chosen");
    client.batch_execute("SET search_path = cyberdyne").await.unwrap();
    let statement = client.prepare("SELECT tenant FROM carried WHERE n = $1").await.unwrap();
    for n in 0..STATEMENTS {
        let tenant = TENANTS[n as usize % 2];
        client.batch_execute(&format!("SET search_path = {tenant}")).await.unwrap();
        let row = client.query_one(&statement, &[&(n % 100)]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), tenant, "at {n}");
    }
}

/// Writes, in transactions and without, each into its own table.
async fn writing(mut client: Client, tenant: &'static str) {
    for n in 0..STATEMENTS / 10 {
        let number = n % 100;
        let transaction = client.transaction().await.unwrap();
        let lock = "SELECT tenant FROM carried WHERE n = $1 FOR UPDATE";
        let row = transaction.query_one(lock, &[&number]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), tenant, "at {n}");
        let touch = "UPDATE carried SET n = n WHERE n = $1 RETURNING tenant";
        let row = transaction.query_one(touch, &[&number]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), tenant, "at {n}");
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_simple_statements() {
    tables().await;
    let veneer = Veneer::start("one-simple", 1);
    let [mine, theirs] = [veneer.tenant(TENANTS[0]).await, veneer.tenant(TENANTS[1]).await];
    interleave(simple(mine, TENANTS[0]), simple(theirs, TENANTS[1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_extended_statements() {
    tables().await;
    let veneer = Veneer::start("one-extended", 1);
    let [mine, theirs] = [veneer.tenant(TENANTS[0]).await, veneer.tenant(TENANTS[1]).await];
    interleave(extended(mine, TENANTS[0]), extended(theirs, TENANTS[1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_executions_of_one_prepared_text() {
    tables().await;
    let veneer = Veneer::start("one-prepared", 1);
    let [mine, theirs] = [veneer.tenant(TENANTS[0]).await, veneer.tenant(TENANTS[1]).await];
    interleave(prepared(mine, TENANTS[0]), prepared(theirs, TENANTS[1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_chosen_anew_for_each_statement() {
    tables().await;
    let veneer = Veneer::start("one-turning", 1);
    let both = [direct(&veneer.app()).await, veneer.tenant(TENANTS[1]).await];
    let [turns, stays] = both;
    interleave(turning(turns), writing(stays, TENANTS[1])).await;
}

/// The path goes back with the transaction that set it, for the session and for its backend.
#[tokio::test]
async fn a_path_that_was_rolled_back_leaves_no_trace() {
    tables().await;
    let veneer = Veneer::start("one-rolled-back", 1);
    let [one, other] = [veneer.tenant(TENANTS[0]).await, veneer.tenant(TENANTS[1]).await];
    let whose = async |client: &Client| {
        let row = client.query_one("SELECT tenant FROM carried LIMIT 1", &[]).await.unwrap();
        row.get::<_, String>(0)
    };
    let changes = [
        "SET search_path = dunder_mifflin",
        "SET LOCAL search_path = dunder_mifflin",
        "SELECT set_config('search_path', 'dunder_mifflin', false)",
        "SELECT set_config('search_path', 'dunder_mifflin', true)",
        "SAVEPOINT a; SET search_path = dunder_mifflin; ROLLBACK TO a",
    ];
    for change in changes {
        for end in ["ROLLBACK", "COMMIT"] {
            one.batch_execute("SET search_path = cyberdyne").await.unwrap();
            one.batch_execute("BEGIN").await.unwrap();
            for statement in change.split("; ") {
                one.batch_execute(statement).await.unwrap();
            }
            let inside = usize::from(!change.contains("ROLLBACK TO"));
            assert_eq!(whose(&one).await, TENANTS[inside], "{change}");
            one.batch_execute(end).await.unwrap();
            assert_eq!(whose(&other).await, TENANTS[1], "{change}; {end}: the other's");
            let stays =
                end == "COMMIT" && (change.starts_with("SET s") || change.contains("false"));
            assert_eq!(whose(&one).await, TENANTS[usize::from(stays)], "{change}; {end}: its own");
            assert_eq!(whose(&other).await, TENANTS[1], "{change}; {end}: the other's, again");
        }
    }
}
