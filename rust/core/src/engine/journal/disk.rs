//! What a journal asks of a directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A directory with files that grow at their ends.
pub trait Disk: Send + Sync {
    /// The names of its files, in order.
    ///
    /// # Errors
    /// Those of the system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// Those of the system.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// A new file, empty.
    ///
    /// # Errors
    /// Those of the system; one that is there already.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Appends to a file. After an error some of the bytes may be there.
    ///
    /// # Errors
    /// Those of the system.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to so many bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Makes what a file holds outlive a crash.
    ///
    /// # Errors
    /// Those of the system.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in the place of one that has it.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes which files there are outlive a crash.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    /// The file that was last written.
    open: Option<(String, File)>,
    /// Held for as long as this is: two writers would mix their records. With the process that took it.
    lock: Option<(File, u32)>,
}

/// The name of the file that a writer locks.
const LOCK: &str = "lock";

impl FileDisk {
    /// A directory to write to, made where it is not there. Nobody else may write to it meanwhile.
    ///
    /// # Errors
    /// Those of the system; `WouldBlock` where another writer has it.
    pub fn writer(root: &Path) -> io::Result<Self> {
        let missing = root.ancestors().take_while(|path| !path.exists()).count();
        fs::create_dir_all(root)?;
        // A directory whose name is lost in a crash takes its files with it. One that is there may be that of a writer which
        // died before it had synced the name.
        for path in root.ancestors().take(missing.max(1)) {
            sync_parent(path)?;
        }
        let lock = OpenOptions::new().create(true).append(true).open(root.join(LOCK))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { root: root.to_owned(), open: None, lock: Some((lock, std::process::id())) })
    }

    /// A directory to read from.
    ///
    /// # Errors
    /// Those of the system.
    pub fn reader(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such directory"));
        }
        Ok(Self { root: root.to_owned(), open: None, lock: None })
    }

    /// Without the lock nothing is written.
    fn may_write(&self) -> io::Result<()> {
        let limit = "opened to be read";
        let denied = || io::Error::new(io::ErrorKind::PermissionDenied, limit);
        self.lock.as_ref().map(|_| ()).ok_or_else(denied)
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.may_write()?;
        if self.open.as_ref().is_none_or(|(own, _)| own != name) {
            let file = OpenOptions::new().append(true).open(self.root.join(name))?;
            self.open = Some((name.to_owned(), file));
        }
        let found = self.open.as_mut().map(|(_, file)| file);
        found.ok_or_else(|| io::Error::other("no file"))
    }
}

/// Whoever forked meanwhile has a copy of the lock, if only until its `exec`: it is given back, not left to the last copy. A
/// copy gives nothing back.
impl Drop for FileDisk {
    fn drop(&mut self) {
        if let Some((lock, taken_by)) = &self.lock
            && *taken_by == std::process::id()
        {
            let _closing_gives_it_back_too = lock.unlock();
        }
    }
}

/// Makes the name of a directory outlive a crash, as far as its parent may be opened.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match File::open(parent.unwrap_or(Path::new("."))) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

impl Disk for FileDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> =
            fs::read_dir(&self.root)?.map(name).collect::<io::Result<_>>()?;
        names.retain(|name| name != LOCK);
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(name))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.may_write()?;
        let file = OpenOptions::new().append(true).create_new(true).open(self.root.join(name))?;
        self.open = Some((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        self.open = None;
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.may_write()?;
        self.open = None;
        fs::remove_file(self.root.join(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::FileDisk;

    #[test]
    fn a_copy_of_the_lock_does_not_keep_it() {
        let root = std::env::temp_dir().join(format!("aivora-lock-{}", std::process::id()));
        let mut first = FileDisk::writer(&root).unwrap();
        // What a process that has forked and not yet exec'd has of it.
        let copy = first.lock.as_ref().unwrap().0.try_clone().unwrap();
        assert!(FileDisk::writer(&root).is_err());
        drop(first);
        first = FileDisk::writer(&root).unwrap();
        drop(copy);
        assert!(FileDisk::writer(&root).is_err());
        // A fork itself drops nothing of what its parent holds.
        let (lock, taken_by) = first.lock.take().unwrap();
        let copy = lock.try_clone().unwrap();
        first.lock = Some((lock, taken_by + 1));
        drop(first);
        assert!(FileDisk::writer(&root).is_err());
        drop(copy);
        assert!(FileDisk::writer(&root).is_ok());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
