//! The walls of the house: who may import whom, how long things may be, where data comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

/// What each room may import of ours (docs/ARCHITECTURE.md). `stage/*` stands for any stage.
const IMPORTS: &[(&str, &[&str])] = &[
    ("fault", &["config"]),
    ("config", &[]),
    ("rollout", &[]),
    ("loss", &[]),
    ("client", &["rollout"]),
    ("events", &[]),
    ("store", &["rollout", "config", "fault"]),
    ("weights", &["rollout", "config", "events", "fault"]),
    ("render", &["client", "rollout", "engine", "fault"]),
    ("protocol", &["rollout", "fault"]),
    ("model", &["weights", "config", "fault"]),
    ("engine", &["model", "weights", "rollout", "fault"]),
    ("complete", &["rollout", "protocol", "render", "engine", "fault"]),
    ("judge", &["client", "config", "rollout", "protocol", "complete", "fault"]),
    (
        "stage/*",
        &[
            "client", "fault", "config", "rollout", "events", "store", "weights", "render",
            "protocol", "model", "engine", "complete", "judge", "loss",
        ],
    ),
    ("run", &["config", "events", "fault"]),
];

/// What a bench measures, it may import.
const MEASURED: &[(&str, &str)] = &[("stage/bench", "stage/train")];

/// What `cmd/` may import of the library.
const EDGE_IMPORTS: &[&str] = &["config", "stage", "run", "events", "fault"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn rust_files(dirs: &[&str]) -> Vec<(PathBuf, String)> {
    let files = dirs.iter().flat_map(|dir| files_below(&root().join(dir)));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        // What cargo-fuzz builds lies within its crate.
        .filter(|path| !path.starts_with(root().join("tests/fuzz/target")))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().to_owned(), text)
        })
        .collect()
}

/// The room of a source file: `stage/serve` for `src/stage/serve/chat.rs`, `store` for
/// `src/store/tail.rs`, `None` for `src/lib.rs` and `src/stage/mod.rs`.
fn room(file: &Path) -> Option<String> {
    let parts: Vec<&str> = file.iter().skip(1).map(|part| part.to_str().unwrap()).collect();
    match parts.as_slice() {
        ["lib.rs"] | ["stage", "mod.rs"] => None,
        ["stage", stage, ..] => Some(format!("stage/{}", stage.trim_end_matches(".rs"))),
        [room, ..] => Some(room.trim_end_matches(".rs").to_owned()),
        [] => None,
    }
}

/// The rooms that a file names by `crate::…` (or `openclaw_rl::…` in the binary), in `use`
/// declarations and in paths, outside its tests.
struct Named<'a> {
    krate: &'a str,
    rooms: BTreeSet<String>,
}

impl Named<'_> {
    fn note(&mut self, path: &[String]) {
        match path {
            [krate, stage, name, ..] if krate == self.krate && stage == "stage" => {
                self.rooms.insert(format!("stage/{name}"));
            }
            [krate, room, ..] if krate == self.krate => {
                self.rooms.insert(room.clone());
            }
            _ => {}
        }
    }

    fn walk(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| {
            let mut path = prefix.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.walk(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(prefix),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.walk(prefix, item));
            }
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Named<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.walk(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.note(&segments);
        syn::visit::visit_path(self, path);
    }
}

fn named(text: &str, krate: &str) -> BTreeSet<String> {
    let mut named = Named { krate, rooms: BTreeSet::new() };
    named.visit_file(&syn::parse_file(text).unwrap());
    named.rooms
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    let key = if room.starts_with("stage/") { "stage/*" } else { room };
    IMPORTS.iter().find(|(name, _)| *name == key).map(|(_, imports)| *imports)
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for (file, text) in rust_files(&["src"]) {
        let Some(room) = room(&file) else { continue };
        let Some(allowed) = allowed(&room) else {
            broken.push(format!("{}: room `{room}` is not in the table", file.display()));
            continue;
        };
        for other in named(&text, "crate") {
            let own = other == room || (room == other.split('/').next().unwrap());
            let measured = MEASURED.contains(&(room.as_str(), other.as_str()));
            if !own && !measured && !allowed.contains(&other.as_str()) {
                broken.push(format!("{}: `{room}` imports `{other}`", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_binary_imports_only_the_edge_of_the_library() {
    let mut broken = Vec::new();
    for (file, text) in rust_files(&["cmd"]) {
        for other in named(&text, "openclaw_rl") {
            if !EDGE_IMPORTS.contains(&other.split('/').next().unwrap()) {
                broken.push(format!("{}: imports `{other}`", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let graph: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < graph.len() {
        let next = graph.iter().find(|(room, imports)| {
            !done.contains(*room) && imports.iter().all(|import| done.contains(import))
        });
        let (room, _) = next.unwrap_or_else(|| panic!("a cycle among the rest of {done:?}"));
        done.insert(room);
    }
}

#[test]
fn the_checker_sees_imports_in_uses_and_paths_but_not_in_tests() {
    let text = "use crate::{store::Store, stage::serve}; fn f() { crate::loss::g() }
        #[cfg(test)] mod tests { use crate::run::X; }";
    let rooms: Vec<String> = named(text, "crate").into_iter().collect();
    assert_eq!(rooms, ["loss", "stage/serve", "store"]);
}

/// Functions longer than a screen, with their length.
struct Long {
    found: Vec<(String, usize)>,
}

impl Long {
    fn measure(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.found.push((name.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for Long {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig.ident, item.span());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig.ident, item.span());
        syn::visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn functions_and_files_fit() {
    let mut broken = Vec::new();
    for (file, text) in rust_files(&["src", "cmd", "tests"]) {
        let mut long = Long { found: Vec::new() };
        long.visit_file(&syn::parse_file(&text).unwrap());
        for (name, lines) in long.found {
            broken.push(format!("{}: `{name}` has {lines} lines", file.display()));
        }
        if text.lines().count() > FILE_LINES_MAX {
            broken.push(format!("{}: {} lines", file.display(), text.lines().count()));
        }
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                broken.push(format!(
                    "{}:{}: over {COLUMNS_MAX} columns",
                    file.display(),
                    index + 1
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_file_of_testdata_has_a_maker() {
    let testdata = root().join("testdata");
    let readme = std::fs::read_to_string(testdata.join("README.md")).unwrap();
    let patterns: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once("` | "))
        .filter(|(_, maker)| !maker.trim_matches([' ', '|']).is_empty())
        .map(|(pattern, _)| pattern)
        .collect();
    let made = |file: &str| {
        patterns.iter().any(|pattern| {
            if let Some(folder) = pattern.strip_suffix("**") {
                file.starts_with(folder)
            } else if let Some(start) = pattern.strip_suffix('*') {
                file.strip_prefix(start).is_some_and(|rest| !rest.contains('/'))
            } else {
                file == *pattern
            }
        })
    };
    let orphans: Vec<String> = files_below(&testdata)
        .iter()
        .map(|path| path.strip_prefix(&testdata).unwrap().display().to_string())
        .filter(|file| file != "README.md" && !made(file))
        .collect();
    assert!(orphans.is_empty(), "no maker in testdata/README.md: {orphans:?}");
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let agreed = ["Cargo.toml", "src", "cmd", "testdata", "scripts", "tests", "docs", "README.md"];
    let beside = ["Cargo.lock", "LICENSE", "CHANGELOG.md", "target"];
    let strangers: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !agreed.contains(&name.as_str()) && !beside.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[test]
fn every_test_file_is_a_module_of_the_one_binary() {
    let main = std::fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for (file, _) in rust_files(&["tests"]) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let is_top = file.parent() == Some(Path::new("tests"));
        if is_top && name != "main" {
            assert!(main.contains(&format!("mod {name};")), "{} is forgotten", file.display());
        }
    }
}
