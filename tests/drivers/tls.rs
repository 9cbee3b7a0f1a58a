//! libpq, old and new, over TLS.

use crate::scripts;
use crate::support::authority::Authority;
use crate::support::world;
use crate::veneer::Veneer;

#[test]
fn psql_and_psycopg_over_tls() {
    let authority = Authority::found(&world().demo.dir, "drivers");
    let [certificate, key] = authority.files();
    let veneer = Veneer::start_encrypted("tls", 3, &format!("require\n  {certificate}\n  {key}"));
    scripts::run_with("tls.py", &veneer, &[("PGSSLROOTCERT", authority.root().as_os_str())]);
}

#[test]
fn psql_and_psycopg_where_tls_is_offered() {
    let authority = Authority::found(&world().demo.dir, "drivers-allow");
    let [certificate, key] = authority.files();
    let veneer =
        Veneer::start_encrypted("tls-allow", 3, &format!("allow\n  {certificate}\n  {key}"));
    let root = authority.root();
    let environment = [("PGSSLROOTCERT", root.as_os_str()), ("TLS_MODE", "allow".as_ref())];
    scripts::run_with("tls.py", &veneer, &environment);
}
