use std::path::Path;

use super::{FUSE, name};

#[test]
fn network_file_systems_are_known_by_their_number() {
    let none = || unreachable!("the mount table is asked only for FUSE");
    assert_eq!(name(0x6969, Path::new("/srv"), none).as_deref(), Some("NFS"));
    assert_eq!(name(0xFF53_4D42, Path::new("/srv"), none).as_deref(), Some("CIFS"));
    assert_eq!(name(0xEF53, Path::new("/srv"), none), None, "ext4 is local");
    assert_eq!(name(0x0102_1994, Path::new("/srv"), none), None, "tmpfs is local");
}

#[test]
fn a_program_that_serves_files_is_known_by_the_innermost_mount() {
    let mounts = || {
        "/dev/sda1 / ext4 rw 0 0\n\
         host:/x /mnt/far fuse.sshfs rw 0 0\n\
         /dev/sdb1 /mnt/far/usb fuse.ntfs-3g rw 0 0\n\
         host:/y /mnt/with\\040space fuse.rclone rw 0 0\n"
            .to_owned()
    };
    let of = |path: &str| name(FUSE, Path::new(path), mounts);
    assert_eq!(of("/mnt/far/tavern").as_deref(), Some("sshfs"));
    assert_eq!(of("/mnt/far/usb/tavern"), None, "a local disk below it");
    assert_eq!(of("/mnt/with space/tavern").as_deref(), Some("rclone"));
    assert_eq!(of("/mnt/farther"), None, "a name that only begins alike");
}
