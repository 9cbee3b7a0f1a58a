//! Clusters start, stop, are taken over, and never outlive us.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use veneer::demo::cluster::{Cluster, ClusterError};
use veneer::demo::shard::{ADMIN_ROLE, APP_ROLE};

use crate::support::asked::{asked_since, mark};
use crate::support::{direct, temporary_directory, world};

/// Names the directory to a copy of this test that is there to be killed.
const VICTIM_DIRECTORY: &str = "VENEER_TEST_VICTIM";

#[tokio::test]
async fn every_shard_keeps_its_own_rows_and_log() {
    let world = world();
    let mut ernests = Vec::new();
    for tenant in ["bluth_co", "cyberdyne", "dunder_mifflin", "initech"] {
        let shard = world.home_of(tenant);
        let before = mark(&shard.cluster);
        let client = direct(&shard.app_config()).await;
        let sql = format!("SELECT id::text FROM {tenant}.authors WHERE first_name = 'Ernest'");
        let id: String = client.query_one(&sql, &[]).await.unwrap().get(0);
        ernests.push(id);
        assert!(asked_since(&shard.cluster, before, APP_ROLE).contains(&sql));
        assert!(!asked_since(&shard.cluster, before, ADMIN_ROLE).contains(&sql));
    }
    // Known for ever: documents and scripts may print them.
    assert_eq!(ernests[1], "08befb8f-1eab-229f-e9c1-fdcdfe0ff479");
    ernests.sort();
    ernests.dedup();
    assert_eq!(ernests.len(), 4);
}

#[tokio::test]
async fn passwords_differ_and_are_asked_for() {
    let [one, two] = [1, 2].map(|number| world().shard(number));
    assert_ne!(one.app_password, two.app_password);
    let foreign = two.cluster.config(APP_ROLE, &one.app_password, "bookstore");
    let refusal = foreign.connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refusal.code().unwrap().code(), "28P01");
}

#[tokio::test]
async fn a_stopped_cluster_starts_again_with_its_rows() {
    let (directory, _remover) = temporary_directory("restart");
    let mut cluster = Cluster::create(&directory.join("one"), None).await.unwrap();
    let client = direct(&cluster.superuser_config()).await;
    client.batch_execute("CREATE TABLE kept (); INSERT INTO kept DEFAULT VALUES").await.unwrap();
    cluster.stop().await;
    assert!(client.simple_query("SELECT 1").await.is_err());
    cluster.start().await.unwrap();
    let client = direct(&cluster.superuser_config()).await;
    assert_eq!(client.query("SELECT FROM kept", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_taken_port_is_said_to_be_taken() {
    let (directory, _remover) = temporary_directory("port");
    let taken = world().shard(1).cluster.port();
    let outcome = Cluster::create(&directory.join("one"), Some(taken)).await;
    assert!(matches!(outcome, Err(ClusterError::PortTaken(port)) if port == taken));
}

/// Runs this very test again as a victim, kills it without warning, and expects its cluster to go.
#[tokio::test]
async fn a_killed_process_leaves_no_cluster_behind() {
    if let Some(directory) = env::var_os(VICTIM_DIRECTORY) {
        let directory = PathBuf::from(directory);
        let _cluster = Cluster::create(&directory, None).await.unwrap();
        println!("\nready");
        thread::sleep(Duration::from_secs(60));
        return;
    }
    let (directory, _remover) = temporary_directory("victim");
    let cluster = directory.join("one");
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "clusters::a_killed_process_leaves_no_cluster_behind"])
        .env(VICTIM_DIRECTORY, &cluster)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == "ready"));
    let pid_file = cluster.join("data/postmaster.pid");
    assert!(pid_file.exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The last thing that PostgreSQL does is to remove it.
    while pid_file.exists() {
        assert!(Instant::now() < deadline, "PostgreSQL outlived the process that started it");
        thread::sleep(Duration::from_millis(50));
    }
}
