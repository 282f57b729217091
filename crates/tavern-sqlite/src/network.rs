//! Network file systems are refused: SQLite's locks and its shared index do not work across them,
//! and the damage shows late.

use std::path::Path;

use tavern_backend::{Error, Result};

/// `f_type` of `statfs(2)`, and a name for a person.
const TYPES: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB2"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x013F_51B4, "Weka"),
];

/// `f_type` of what a program serves; the mount table tells which.
const FUSE: u32 = 0x6573_5546;
/// Programs that serve a file system over the network.
const FUSE_NETWORK: &[&str] = &[
    "sshfs",
    "s3fs",
    "rclone",
    "glusterfs",
    "ceph-fuse",
    "gcsfuse",
    "goofys",
    "mountpoint-s3",
    "juicefs",
    "davfs",
    "curlftpfs",
    "smbnetfs",
    "beegfs",
    "blobfuse",
    "blobfuse2",
    "lizardfs",
    "moosefs",
    "mfs",
    "seaweedfs",
    "cifs",
];

/// Refuses a path on a network file system.
pub(crate) fn refuse(db: &Path) -> Result<()> {
    let directory = db.parent().unwrap_or(Path::new("/"));
    // What cannot be asked is left to SQLite, which fails with a sentence of its own.
    let Ok(stat) = rustix::fs::statfs(directory) else { return Ok(()) };
    #[allow(clippy::useless_conversion, reason = "its type is another on other machines")]
    let kind = u32::try_from(i64::from(stat.f_type) & 0xFFFF_FFFF).unwrap_or(0);
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    match name(kind, directory, mounts) {
        None => Ok(()),
        Some(name) => Err(Error::config(format_args!(
            "`{}` lies on a network file system ({name}), where SQLite's locks cannot be relied \
             on; put it on a local disk, or use a backend with a server for several machines",
            db.display()
        ))),
    }
}

/// The network file system that this is, if it is one.
fn name(kind: u32, directory: &Path, mounts: impl FnOnce() -> String) -> Option<String> {
    if let Some((_, name)) = TYPES.iter().find(|(number, _)| *number == kind) {
        return Some((*name).to_owned());
    }
    if kind != FUSE {
        return None;
    }
    let mounts = mounts();
    let program = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| directory.starts_with(point.replace("\\040", " ")))
        .max_by_key(|(point, _)| point.len())
        .and_then(|(_, kind)| kind.strip_prefix("fuse."))?;
    FUSE_NETWORK.contains(&program).then(|| program.to_owned())
}

#[cfg(test)]
mod tests;
