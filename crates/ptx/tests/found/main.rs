//! The fuzz target `parse` on inputs that are kept: what it has found, and first what it should not
//! have to find.

mod property;

#[test]
fn every_kept_input_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/found/inputs");
    let files: Vec<_> = std::fs::read_dir(folder).expect("the folder of inputs").collect();
    assert!(!files.is_empty(), "{folder} holds no input");
    for file in files {
        let path = file.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("an input");
        println!("{}", path.display());
        if let Ok(text) = std::str::from_utf8(&bytes) {
            property::reads_back(text);
        }
    }
}
