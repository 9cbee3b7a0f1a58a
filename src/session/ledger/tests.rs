//! Whole conversations with a shard, as transcripts of tags.

use super::*;

/// Plays a conversation and prints what became of it.
///
/// Sent: `Q P B D E C S F` for the client (`D` describes a portal), `-Q -P -B -C` for nobody,
/// `ours` our own answer, `poison` a refusal, `end` the end of COPY data. Come: `<` and the tag.
/// Printed: the tag of a frame that passes, `(x)` for one that is dropped, `[x]` for one that is
/// replaced, `x?` for one that nothing asked for, `=` for an answer of ours; `…` when replies are
/// owed in the end, `skip` when the rest of the pipeline must be passed over.
#[track_caller]
fn check(script: &str, expected: &str) {
    let mut ledger = Ledger::default();
    let mut told = String::new();
    for word in script.split_whitespace() {
        if let Some(tag) = word.strip_prefix('<') {
            let tag = tag.as_bytes()[0];
            let shown = char::from(tag);
            match ledger.reply(tag) {
                Ok((verdict, event)) => {
                    match verdict {
                        Verdict::Pass => told.push(shown),
                        Verdict::Drop => told += &format!("({shown})"),
                        Verdict::Replace(_) => told += &format!("[{shown}]"),
                    }
                    if let Event::Failed { skips: true, .. } = event {
                        told += " skip ";
                    }
                }
                Err(Unasked(_)) => told += &format!("{shown}?"),
            }
        } else {
            ledger.push(sent(word));
        }
        while ledger.ours().is_some() {
            told.push('=');
        }
    }
    if !ledger.is_empty() {
        told.push('…');
    }
    assert_eq!(told, expected, "{script}");
}

fn sent(word: &str) -> Owed {
    let (to, word) = match word.strip_prefix('-') {
        Some(word) => (To::Nobody, word),
        None => (To::Client, word),
    };
    let promise = Promise { promised: None, client_name: None };
    match word {
        "Q" => Owed::Query { to, text: None, done: 0 },
        "P" => Owed::Parse { to, promise },
        "B" => Owed::Bind { to },
        "D" => Owed::DescribePortal,
        "E" => Owed::Execute { to, text: None },
        "C" => Owed::Close { to, ours: None },
        "S" => Owed::Sync { to },
        "F" => Owed::FunctionCall,
        "ours" => Owed::Ours(Bytes::new()),
        "poison" => Owed::Poison(Bytes::new()),
        "end" => Owed::CopyEnd,
        _ => panic!("{word}"),
    }
}

#[test]
fn answers_find_who_asked() {
    check("Q <T <D <C <Z", "TDCZ");
    check("-Q Q <C <Z <T <C <Z", "(C)(Z)TCZ");
    check("P B D E S <1 <2 <T <D <C <Z", "12TDCZ");
    check("-P B E S <1 <2 <D <s <Z", "(1)2DsZ");
    check("-C -P B E S <3 <1 <2 <I <Z", "(3)(1)2IZ");
    check("F <V <Z", "VZ");
    check("Q <N <T <S <C <Z", "NTSCZ");
    check("-Q Q <S <N <C <Z <C <Z", "(S)(N)(C)(Z)CZ");
    check("Q Q <C <C <Z", "CCZ…");
    check("P ours B S <1 <2 <Z", "1=2Z");
    check("ours", "=");
}

#[test]
fn a_failure_skips_to_the_sync() {
    check("P B E S <1 <E <Z", "1EZ");
    check("P B E S P S <1 <E <Z <1 <Z", "1EZ1Z");
    check("P B E <E", "E skip ");
    check("P B E <1 <E S <Z", "1E skip Z");
    check("P ours B Q S <E <Z", "EZ");
    check("Q Q <E <Z <C <Z", "EZCZ");
    check("F <E <Z", "EZ");
    check("P poison S <1 <E <Z", "1[E]Z");
    check("P poison S <E <Z", "EZ");
    check("-P poison S <1 <E <Z", "(1)[E]Z");
}

#[test]
fn what_nobody_asked_for_is_no_answer() {
    check("<Z", "Z?");
    check("<E", "E?");
    check("<D", "D?");
    check("<A", "A");
    check("P <2", "2?…");
    check("S <1", "1?…");
    check("Q <1", "1?…");
    check("E <T", "T?…");
    check("B S <2 <Z <Z", "2ZZ?");
}

#[test]
fn copy_in() {
    // The client waits for the word to begin.
    check("Q <G end <C <Z", "GCZ");
    check("P B E S <1 <2 <G end S <C <Z", "12GCZ");
    check("E <G S S end S <C <Z", "GCZ");
    // It does not.
    check("Q end <G <C <Z S <Z", "GCZZ");
    check("Q end end <G <C <G <C <Z S <Z", "GCGCZZ");
    check("P B E S end S <1 <2 <G <C <Z", "12GCZ");
    check("E end S S <G <C <Z <Z", "GCZZ");
    // It fails before the end, or at it.
    check("Q <G <E end <Z S <Z", "GEZZ");
    check("E <G <E end S <Z", "GE skip Z");
    check("E <G end S <E <Z", "GEZ");
    // What comes instead of data ends it; the shard answers it with the COPY's error alone.
    check("Q Q Q <G <E <Z <C <Z", "GEZCZ");
    check("E P E S <G <E <Z", "GEZ");
    // Data where there is no COPY.
    check("end Q end <C <Z", "CZ");
}
