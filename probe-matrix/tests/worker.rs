//! The worker as a process: this test is its own worker.

use bytes::Bytes;
use libtest_mimic::{Arguments, Trial};
use probe_matrix::worker::{self, Job, Request, Sender, WorkerError};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(worker::ARGUMENT) {
        return worker::serve(handle);
    }
    let trials = vec![
        trial("blobs_and_answers_pass_unchanged", blobs_and_answers_pass_unchanged),
        trial("what_was_said_before_the_deadline_is_kept", what_was_said_before_the_deadline_is_kept),
        trial("cancelling_kills_the_worker_at_once", cancelling_kills_the_worker_at_once),
        trial("a_panic_is_told_with_its_words", a_panic_is_told_with_its_words),
        trial("a_worker_that_says_too_much_is_killed", a_worker_that_says_too_much_is_killed),
        trial("an_error_of_the_handler_is_its_message", an_error_of_the_handler_is_its_message),
        trial(
            "the_worker_keeps_no_capability_it_does_not_need",
            the_worker_keeps_no_capability_it_does_not_need,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// The child's side.
#[expect(clippy::needless_pass_by_value, reason = "the signature that serve() takes")]
fn handle(request: Request, sender: &mut Sender) -> Result<(), String> {
    let told = |result: std::io::Result<()>| result.map_err(|error| error.to_string());
    match request.verb.as_str() {
        "echo" => {
            let sizes: Vec<usize> = request.blobs.iter().map(Bytes::len).collect();
            let sum: u64 =
                request.blobs.iter().flat_map(|blob| blob.iter()).map(|byte| u64::from(*byte)).sum();
            told(sender.answer(&json!({ "body": request.body, "sizes": sizes, "sum": sum })))
        }
        "hang" => {
            told(sender.step("first"))?;
            told(sender.answer(&"said before"))?;
            told(sender.step("second"))?;
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        "panic" => panic!("out of cheese"),
        "babble" => loop {
            told(sender.answer(&"x".repeat(1 << 20)))?;
        },
        "status" => {
            let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
            told(sender.answer(&status))
        }
        other => Err(format!("no verb {other}")),
    }
}

fn run(verb: &str, blobs: Vec<Bytes>, limit: Duration) -> (Result<worker::Usage, WorkerError>, Vec<Value>) {
    let job = Job { verb: verb.to_owned(), request: json!({ "n": 7 }), blobs };
    let mut answers = Vec::new();
    let cancelled = AtomicBool::new(false);
    let result = worker::run(&job, Instant::now() + limit, &cancelled, &mut |answer| answers.push(answer));
    (result, answers)
}

const LONG: Duration = Duration::from_secs(30);

fn blobs_and_answers_pass_unchanged() {
    let blobs = vec![Bytes::new(), Bytes::from(vec![1; 3 << 20]), Bytes::from_static(b"\n{\n")];
    let (result, answers) = run("echo", blobs, LONG);
    assert!(result.unwrap().max_rss_kib > 0);
    let sum = (3 << 20) + u64::from(b'\n') * 2 + u64::from(b'{');
    assert_eq!(answers, [json!({ "body": { "n": 7 }, "sizes": [0, 3 << 20, 3], "sum": sum })]);
}

fn what_was_said_before_the_deadline_is_kept() {
    let started = Instant::now();
    let (result, answers) = run("hang", Vec::new(), Duration::from_millis(1500));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(answers, [json!("said before")]);
    let error = result.unwrap_err();
    assert!(matches!(&error, WorkerError::TimedOut { last_step, .. } if last_step == "second"), "{error}");
}

fn cancelling_kills_the_worker_at_once() {
    let job = Job { verb: "hang".to_owned(), request: Value::Null, blobs: Vec::new() };
    let cancelled = AtomicBool::new(true);
    let started = Instant::now();
    let result = worker::run(&job, started + LONG, &cancelled, &mut |_: Value| {});
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(matches!(result, Err(WorkerError::Cancelled { .. })));
}

fn a_panic_is_told_with_its_words() {
    let (result, _) = run("panic", Vec::new(), LONG);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("exited with code 101") && error.contains("out of cheese"), "{error}");
}

fn a_worker_that_says_too_much_is_killed() {
    let (result, answers) = run("babble", Vec::new(), LONG);
    assert!(matches!(result, Err(WorkerError::Protocol { .. })), "{result:?}");
    assert!(answers.len() <= 128);
}

fn an_error_of_the_handler_is_its_message() {
    let (result, _) = run("nonsense", Vec::new(), LONG);
    assert_eq!(result.unwrap_err().to_string(), "no verb nonsense");
}

/// BPF, PERFMON, NET_ADMIN, SYS_ADMIN, SYS_RESOURCE: include/uapi/linux/capability.h.
const NEEDED: u64 = 1 << 39 | 1 << 38 | 1 << 12 | 1 << 21 | 1 << 24;

fn the_worker_keeps_no_capability_it_does_not_need() {
    let (result, answers) = run("status", Vec::new(), LONG);
    result.unwrap();
    let status = answers[0].as_str().unwrap();
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    for set in ["CapPrm:", "CapEff:"] {
        let held = u64::from_str_radix(&field(set), 16).unwrap();
        assert_eq!(held & !NEEDED, 0, "{set} {held:x}");
    }
    assert_eq!((field("CapInh:"), field("CapAmb:")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Threads:"), "1");
    // Without CAP_SETPCAP the bounding set cannot be lowered.
    if rustix::thread::capabilities(None).unwrap().effective.contains(rustix::thread::CapabilitySet::SETPCAP)
    {
        let bounding = u64::from_str_radix(&field("CapBnd:"), 16).unwrap();
        assert_eq!(bounding & !NEEDED, 0, "{bounding:x}");
    }
}
