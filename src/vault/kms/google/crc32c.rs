//! CRC32C (Castagnoli, RFC 3720 B.4), as Google writes it in JSON: a decimal in a string.

use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The checksum as the API writes it.
pub(super) fn of(bytes: &[u8]) -> String {
    CRC32C.checksum(bytes).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_one_of_the_rfc() {
        assert_eq!(super::of(b"123456789"), 0xe306_9283_u32.to_string());
        assert_eq!(super::of(&[0; 32]), 0x8a91_36aa_u32.to_string());
    }
}
