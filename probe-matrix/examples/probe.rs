use probe_matrix::{Support, probe, worker};
use std::process::ExitCode;
use std::time::{Duration, Instant};
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(worker::ARGUMENT) {
        return worker::serve(probe::serve);
    }
    if std::env::var_os("INPROC").is_some() {
        let t = Instant::now();
        let st = probe::run(
            &probe::ProbeOptions::default(),
            probe_matrix::sys::Kernel::live(),
            &mut |s| {
                eprintln!("STEP {s} {:?}", t.elapsed());
                Ok(())
            },
            &mut |_, _| {},
        );
        println!("{st:?}");
        return ExitCode::SUCCESS;
    }
    let only: Vec<String> =
        std::env::args().nth(1).map(|s| s.split(',').map(String::from).collect()).unwrap_or_default();
    let t = Instant::now();
    let c = probe::collect(
        &probe::ProbeOptions { only: only.clone(), ..Default::default() },
        t + Duration::from_secs(30),
        &Default::default(),
    )
    .unwrap();
    let e = t.elapsed();
    if std::env::args().nth(2).is_some() || std::env::var_os("V").is_some() {
        for (n, f) in c.facts.iter() {
            println!(
                "{n:50} {:8} {:8} {} {} {}",
                format!("{:?}", f.support),
                f.evidence,
                f.errno.as_deref().unwrap_or("-"),
                f.value
                    .as_ref()
                    .map(|v| v.to_string().chars().take(60).collect::<String>())
                    .unwrap_or_default(),
                f.reason.as_deref().unwrap_or("")
            );
        }
    }
    let n = |s| c.facts.iter().filter(|(_, f)| f.support == s).count();
    println!(
        "{} facts yes {} no {} dw {} do {} unknown {} {:?} {:?} {:?} cut {:?}",
        c.facts.len(),
        n(Support::Yes),
        n(Support::No),
        n(Support::DeniedWorkload),
        n(Support::DeniedObserver),
        n(Support::Unknown),
        e,
        c.stats,
        c.usage,
        c.cut_short
    );
    ExitCode::SUCCESS
}
