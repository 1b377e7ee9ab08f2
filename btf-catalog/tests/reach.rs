//! What is reached, and so needed, of a compiled object on an older and a newer kernel's types.

use btf_catalog::core::{KernelSide, Relocator, Resolution, TargetBtf};
use btf_catalog::kernel::KernelConfig;
use btf_catalog::reach::{Constants, Reach, Walk, reach};
use btf_catalog::require::{Counting, Need, Needed, call_chains, needs};
use btf_catalog::{BpfObject, Btf};
use std::path::Path;
use std::sync::Arc;

fn case(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)).expect(name)
}

struct Asked {
    object: BpfObject,
    types: TargetBtf,
    config: Option<KernelConfig>,
    version: Option<u32>,
    rodata: Vec<(&'static str, &'static str)>,
}

fn on(types: &str) -> Asked {
    let kernel = BpfObject::parse(case(types)).expect("an object").btf.expect("types");
    let vmlinux = Arc::new(Btf::parse(kernel.bytes().clone()).expect("types"));
    let object = BpfObject::parse(case("guards.bpfel.o")).expect("an object");
    Asked { object, types: TargetBtf::new(vmlinux), config: None, version: None, rodata: Vec::new() }
}

struct Answer {
    reach: Reach,
    needs: Vec<Need>,
    /// `(access, how surely)` of relocations without an answer that may be reached.
    poisoned: Vec<(String, Walk)>,
    depth: Option<(u32, u32)>,
}

impl Asked {
    fn entry(&self, name: &str) -> Answer {
        let side = KernelSide {
            types: &self.types,
            modules_whole: true,
            config: self.config.as_ref(),
            version: self.version,
            symbols: None,
        };
        let mut constants = Constants::of(&self.object);
        constants.externs = Some(Resolution::new(&self.object, &side));
        for (name, value) in &self.rodata {
            constants.set_rodata(&self.object, name, value).expect("a constant");
        }
        let mut relocator = Relocator::new(&self.object, &self.types);
        let found = self.object.entries.iter().find_map(|entry| {
            let relocated = relocator.relocate(entry).expect("relocated");
            (entry.name == name).then_some((entry, relocated))
        });
        let (entry, relocated) = found.expect("the entry");
        let reach = reach(&self.object, entry, &relocated.insns, &constants);
        let poisoned =
            reach.poisoned(&relocated).map(|(miss, _, walk)| (miss.access.to_string(), walk)).collect();
        Answer {
            needs: needs(&self.object, entry, &relocated.insns, Some(&reach)),
            poisoned,
            depth: call_chains(entry, &relocated.insns, &reach.stack, Counting::LENIENT)
                .map(|chains| (chains.stack_byte_sz, chains.frames)),
            reach,
        }
    }
}

impl Answer {
    /// `helper at file:line`, with a `?` where it is perhaps needed.
    fn helpers(&self) -> Vec<String> {
        let helper = |need: &Need| match need.what {
            Needed::Helper(helper) => {
                let line = need.line.as_ref().map(ToString::to_string).unwrap_or_default();
                Some(format!("{helper} at {line}{}", if need.walk == Walk::Sure { "" } else { "?" }))
            }
            _ => None,
        };
        self.needs.iter().filter_map(helper).collect()
    }
}

#[test]
fn a_field_behind_a_test_of_itself_is_no_failure() {
    for (types, first, second) in [("types_old.bpfel.o", 5, 7), ("types_new.bpfel.o", 7, 5)] {
        let answer = on(types).entry("state");
        assert_eq!(answer.poisoned, [], "{types}");
        assert_eq!(
            (answer.reach.walk(first), answer.reach.walk(second)),
            (Walk::Never, Walk::Sure),
            "{types}"
        );
        assert_eq!(answer.depth, Some((16, 1)));
        let argument = answer.needs.iter().find(|need| need.what == Needed::Argument(1));
        assert_eq!(argument.map(|need| need.walk), Some(Walk::Sure));
    }
    assert_eq!(on("types_old.bpfel.o").entry("careless").poisoned, []);
    let careless = on("types_new.bpfel.o").entry("careless").poisoned;
    assert_eq!(careless, [("struct task.state".to_owned(), Walk::Sure)]);
}

#[test]
fn a_helper_behind_the_test_of_an_enumerator_is_needed_where_there_is_one() {
    let old = on("types_old.bpfel.o").entry("repeat");
    assert_eq!(old.helpers(), [""; 0]);
    assert!(old.needs.iter().all(|need| !matches!(need.what, Needed::Callback(_))));
    let new = on("types_new.bpfel.o").entry("repeat");
    assert_eq!(new.helpers(), ["loop at guards.bpf.c:59"]);
    assert!(new.needs.iter().any(|need| need.what == Needed::Callback("step".to_owned())));
}

#[test]
fn the_version_and_the_configuration_decide_where_they_are_known() {
    let mut asked = on("types_new.bpfel.o");
    let unknown = asked.entry("version");
    assert_eq!(
        unknown.helpers(),
        [
            "ktime_get_ns at guards.bpf.c:69?",
            "get_smp_processor_id at guards.bpf.c:71?",
            "ktime_get_boot_ns at guards.bpf.c:67?"
        ]
    );
    asked.version = Some(5 << 16 | 10 << 8);
    asked.config = Some(KernelConfig::default());
    assert_eq!(asked.entry("version").helpers(), ["ktime_get_boot_ns at guards.bpf.c:67"]);
    asked.version = Some(5 << 16 | 4 << 8);
    let on = [("CONFIG_FAST".to_owned(), "y".to_owned())];
    asked.config = Some(KernelConfig { options: on.into(), source: String::new() });
    let decided = asked.entry("version");
    assert_eq!(
        decided.helpers(),
        ["ktime_get_ns at guards.bpf.c:69", "get_smp_processor_id at guards.bpf.c:71"]
    );
}

#[test]
fn constants_that_a_loader_sets_open_what_they_guard() {
    let mut asked = on("types_new.bpfel.o");
    assert_eq!(asked.entry("chatty").helpers(), [""; 0]);
    asked.rodata = vec![("verbose", "3")];
    assert_eq!(asked.entry("chatty").helpers(), [""; 0], "the other test still fails");
    asked.rodata = vec![("verbose", "3"), ("name", "\"all\"")];
    assert_eq!(asked.entry("chatty").helpers(), ["get_current_pid_tgid at guards.bpf.c:79"]);
    let error = Constants::of(&asked.object).set_rodata(&asked.object, "verbos", "3").unwrap_err();
    assert_eq!(error.to_string(), "no variable verbos in read-only data; there are: name, verbose");
    let error = Constants::of(&asked.object).leave_out(&asked.object, "stat").unwrap_err();
    assert_eq!(error.to_string(), "no entry stat; there are: careless, chatty, repeat, state, version");
}
