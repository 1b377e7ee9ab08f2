//! What is refused in catalogs from elsewhere, and that the message names the place.

use ebpf::{Catalog, CatalogError, Target};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const GOOD: &str = r#"
schema = 1
name = "mine"
version = "1.2.3"

[[program]]
name = "p"
summary = "A program"

[[program.variant]]
name = "second"
rank = 2
summary = "A variant"
why = "A reason"
provides = ["this"]
loses = ["that"]
targets = ["bpfel", "bpfeb-s390x"]

[[program.variant]]
name = "first"
rank = 1
summary = "A variant"
why = "A reason"
provides = ["this", "that"]
loses = []
targets = ["bpfel"]
"#;

#[test]
fn a_good_manifest_is_sorted_by_rank() {
    let manifest = Catalog::parse_manifest(GOOD).unwrap();
    assert_eq!(manifest.version.to_string(), "1.2.3");
    let [first, second] = &manifest.programs[0].variants[..] else { panic!("two variants") };
    assert_eq!((first.name.as_str(), first.rank, first.is_degraded()), ("first", 1, false));
    assert_eq!((second.name.as_str(), second.rank, second.is_degraded()), ("second", 2, true));
    let files: Vec<_> = second.objects.values().map(String::as_str).collect();
    assert_eq!(files, ["p-second.bpfel.o", "p-second.bpfeb-s390x.o"]);
}

#[test]
fn each_defect_is_refused_and_named() {
    let long_name = format!("name = \"{}\"", "n".repeat(65));
    let cases: &[(&str, &str, &str)] = &[
        ("schema = 1", "schema = 2", "has schema 2; this build reads schema 1"),
        ("schema = 1", "", "has schema none"),
        ("schema = 1", "schema = \"1\"", "has schema no whole number"),
        ("schema = 1", "schema = 1\nextra = 1", "line 3: unknown field `extra`"),
        ("schema = 1", "schema = 1\n\"\\u001b[2J\" = 1", "line 3: unknown field `\\u{1b}[2J`"),
        ("rank = 2", "rank = 2\nkernel = \"5.8\"", "unknown field `kernel`"),
        ("summary = \"A program\"", "summary = \"A program\"\nhelpers = []", "unknown field `helpers`"),
        ("why = \"A reason\"", "", "missing field `why`"),
        ("rank = 2", "rank = -2", "invalid value"),
        ("rank = 2", "rank = \"2\"", "invalid type"),
        ("version = \"1.2.3\"", "version = \"1.2\"", "line 4:"),
        ("schema = 1", "schema = 1\nschema = 1", "line 3: duplicate key"),
        ("name = \"mine\"", "name = \"Mine\"", "the name of the catalog, `Mine`"),
        ("name = \"p\"", "name = \"../p\"", "the name of a program, `../p`"),
        ("name = \"p\"", "name = \"/etc/p\"", "`/etc/p`"),
        ("name = \"p\"", "name = \"\"", "the name of a program, ``"),
        ("name = \"p\"", "name = \"-p\"", "`-p`"),
        ("name = \"p\"", "name = \"p\\u0000\"", "`p\\0`"),
        ("name = \"p\"", &long_name, "1 to 64 characters"),
        ("name = \"first\"", "name = \"fir/st\"", "the name of a variant of `p`, `fir/st`"),
        ("name = \"first\"", "name = \"second\"", "program `p` has two of variant `second`"),
        ("rank = 1", "rank = 2", "program `p` has two of rank `2`"),
        ("\"bpfeb-s390x\"", "\"bpfel\"", "variant `p/second` has two of target `bpfel`"),
        ("\"bpfeb-s390x\"", "\"bpfel-../x\"", "`bpfel-../x` is not a target"),
        ("targets = [\"bpfel\"]", "targets = []", "variant `p/first` has no targets"),
        ("summary = \"A program\"", "summary = \" \"", "program `p`: `summary` is empty"),
        ("loses = [\"that\"]", "loses = [\"\"]", "variant `p/second`: `loses` is empty"),
        ("loses = [\"that\"]", "loses = [\"\\u001b[31m\"]", "`loses` holds the control character U+001B"),
        ("why = \"A reason\"", "why = \"A\\nreason\"", "`why` holds the control character U+000A"),
        ("provides = [\"this\"]", "provides = [\"\\u202ethis\"]", "U+202E"),
    ];
    for (good, bad, message) in cases {
        assert!(GOOD.contains(good), "{good}");
        let error = Catalog::parse_manifest(&GOOD.replacen(good, bad, 1)).expect_err(bad).to_string();
        assert!(error.contains(message), "{bad}: {error}");
        assert!(!error.contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
    }
}

#[test]
fn programs_are_unique_and_have_variants() {
    let program = GOOD.split_once("[[program]]").unwrap().1;
    let twice = format!("{GOOD}\n[[program]]{program}");
    let error = Catalog::parse_manifest(&twice).unwrap_err().to_string();
    assert_eq!(error, "the catalog has two of program `p`");
    let empty = format!("{GOOD}\n[[program]]\nname = \"q\"\nsummary = \"x\"\n");
    let error = Catalog::parse_manifest(&empty).unwrap_err().to_string();
    assert_eq!(error, "program `q` has no variants");
}

#[test]
fn two_variants_cannot_share_an_object_file() {
    // p + first-x and p-first + x are both p-first-x.bpfel.o.
    let program = GOOD.split_once("[[program]]").unwrap().1;
    let other =
        program.replace("name = \"p\"", "name = \"p-first\"").replace("name = \"first\"", "name = \"x\"");
    let text = format!("{}\n[[program]]{other}", GOOD.replace("name = \"first\"", "name = \"first-x\""));
    let error = Catalog::parse_manifest(&text).unwrap_err().to_string();
    assert_eq!(error, "the catalog has two of object file `p-first-x.bpfel.o`");
}

#[test]
fn a_huge_or_deeply_nested_manifest_is_refused() {
    let huge = format!("{GOOD}#{}", "x".repeat(1 << 20));
    assert!(matches!(Catalog::parse_manifest(&huge), Err(CatalogError::ManifestTooLarge { .. })));
    let deep = format!("schema = {}", "[".repeat(500_000));
    assert!(matches!(Catalog::parse_manifest(&deep), Err(CatalogError::Syntax { line: 1, .. })));
}

/// A directory with the good manifest and `content` as the object of variant `first`.
fn catalog_with(content: &[u8]) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("catalog.toml"), GOOD).unwrap();
    fs::create_dir(directory.path().join("objects")).unwrap();
    fs::write(directory.path().join("objects/p-first.bpfel.o"), content).unwrap();
    directory
}

fn first_object(path: &Path) -> Result<bytes::Bytes, CatalogError> {
    let catalog = Catalog::open(path)?;
    catalog.object(catalog.program("p").unwrap().variant("first").unwrap(), &Target::generic(false))
}

#[test]
fn a_directory_or_its_manifest_is_opened() {
    let directory = catalog_with(b"object");
    assert_eq!(&first_object(directory.path()).unwrap()[..], b"object");
    assert_eq!(&first_object(&directory.path().join("catalog.toml")).unwrap()[..], b"object");
}

#[test]
fn links_are_followed_inside_the_directory_only() {
    // As a ConfigMap volume lays out its files.
    let directory = catalog_with(b"object");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("..data")).unwrap();
    fs::rename(at("catalog.toml"), at("..data/catalog.toml")).unwrap();
    symlink("..data/catalog.toml", at("catalog.toml")).unwrap();
    assert_eq!(&first_object(directory.path()).unwrap()[..], b"object");
    assert_eq!(&first_object(&at("catalog.toml")).unwrap()[..], b"object");

    let object = at("objects/p-first.bpfel.o");
    fs::remove_file(&object).unwrap();
    symlink("/etc/passwd", &object).unwrap();
    let error = first_object(directory.path()).unwrap_err();
    assert!(
        matches!(&error, CatalogError::Escapes { resolved, .. } if resolved == Path::new("/etc/passwd")),
        "{error}"
    );

    fs::remove_dir_all(at("objects")).unwrap();
    let elsewhere = catalog_with(b"elsewhere");
    symlink(elsewhere.path().join("objects"), at("objects")).unwrap();
    assert!(matches!(first_object(directory.path()), Err(CatalogError::Escapes { .. })));
}

#[test]
fn what_is_no_file_is_not_opened() {
    let directory = catalog_with(b"object");
    let object = directory.path().join("objects/p-first.bpfel.o");
    fs::remove_file(&object).unwrap();
    assert!(matches!(first_object(directory.path()), Err(CatalogError::Io { .. })));

    // Opening a FIFO would wait for ever.
    let made = std::process::Command::new("mkfifo").arg(&object).status().unwrap();
    assert!(made.success());
    assert!(matches!(first_object(directory.path()), Err(CatalogError::NotAFile { .. })));
    assert!(matches!(first_object(Path::new("/dev/null")), Err(CatalogError::NotAFile { .. })));
    assert!(matches!(first_object(Path::new("/nonexistent")), Err(CatalogError::Io { .. })));
}

#[test]
fn an_object_is_read_up_to_its_limit() {
    let directory = catalog_with(b"");
    let object = fs::File::create(directory.path().join("objects/p-first.bpfel.o")).unwrap();
    object.set_len(16 << 20).unwrap();
    assert_eq!(first_object(directory.path()).unwrap().len(), 16 << 20);
    object.set_len((16 << 20) + 1).unwrap();
    let error = first_object(directory.path()).unwrap_err();
    assert!(matches!(error, CatalogError::ObjectTooLarge { byte_sz: 16_777_217, .. }), "{error}");
}

#[test]
fn a_manifest_that_is_no_text_is_refused() {
    let directory = catalog_with(b"");
    fs::write(directory.path().join("catalog.toml"), b"name = \"\xff\"").unwrap();
    assert!(matches!(first_object(directory.path()), Err(CatalogError::NotText { valid_up_to: 8 })));
}
