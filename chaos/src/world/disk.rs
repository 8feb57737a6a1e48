//! A disk of a node's own: an ext4 file system in a sparse file, mounted through a loop device.
//!
//! The mount is seen in this world alone and goes with it, and the loop device with the mount.

use std::path::{Path, PathBuf};

use crate::error::HarnessError;
use crate::tool;

/// A file system that is mounted, until it is dropped.
#[derive(Debug)]
pub struct Disk {
    /// The node whose disk it is.
    pub node: u32,
    /// The file that holds it.
    pub image: PathBuf,
    /// Where it is mounted. The node's data is in a directory in there, since a mount point can
    /// neither be removed nor renamed.
    pub mount: PathBuf,
}

impl Disk {
    /// Makes a file system of so many MiB for a node in `dir`, and mounts it.
    ///
    /// # Errors
    /// When a tool is missing or refuses.
    pub fn make(dir: &Path, node: u32, mib: u64) -> Result<Self, HarnessError> {
        let mount = dir.join(format!("disk{node}"));
        let image = dir.join(format!("disk{node}.img"));
        let doing = || format!("making the disk of node {node}");
        std::fs::create_dir(&mount).map_err(HarnessError::io(doing()))?;
        let file = std::fs::File::create_new(&image).map_err(HarnessError::io(doing()))?;
        file.set_len(mib << 20).map_err(HarnessError::io(doing()))?;
        let disk = Self { node, image, mount };
        tool::run("mkfs.ext4", &["-q", "-m", "0", &disk.image.to_string_lossy()])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it, for a second time after [`Self::unmount`].
    ///
    /// # Errors
    /// When it is mounted already, or too damaged.
    pub fn mount(&self) -> Result<(), HarnessError> {
        let (image, mount) = (self.image.to_string_lossy(), self.mount.to_string_lossy());
        tool::run("mount", &["-o", "loop,noatime", &image, &mount]).map(drop)
    }

    /// Unmounts it, which also frees the loop device.
    ///
    /// # Errors
    /// When a process still uses it.
    pub fn unmount(&self) -> Result<(), HarnessError> {
        tool::run("umount", &[&self.mount.to_string_lossy()]).map(drop)
    }

    /// The directory for the node's data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.mount.join("data")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may be unmounted already, and is so with the world at the latest.
        let _ = self.unmount();
    }
}
