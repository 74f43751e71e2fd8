#include "hw_backend/libvirt/refusals.hpp"

#include <gtest/gtest.h>
#include <libvirt/virterror.h>

#include "tests/unit/hw_backend/guest_xml.hpp"

namespace ferry {
namespace {

MoveFacts facts_of(const std::string& devices, const std::string& more = "") {
  MoveFacts facts;
  facts.vm = "vm0";
  facts.source = "host0";
  facts.destination = "host1";
  facts.domain = *read_domain(guest_xml(devices, more));
  facts.migrate_uri = "tcp://node02";
  facts.source_version = facts.destination_version = 9'000'000;
  facts.virtual_function = "ua-vf0";
  facts.ivshmem = "ua-shm0";
  return facts;
}

TEST(Refusals, a_guest_without_its_devices_may_move) {
  EXPECT_EQ(why_refused({}, facts_of(agent_xml("connected"))), std::nullopt);
}

TEST(Refusals, a_nic_blocks_nothing) {
  EXPECT_EQ(why_refused({}, facts_of(nic_xml)), std::nullopt);
}

TEST(Refusals, name_the_device_that_blocks) {
  EXPECT_EQ(
      why_refused({}, facts_of(hostdev_xml)),
      "vm0 still holds the host's PCI device 0000:03:00.1 (alias ua-vf0), and QEMU migrates no "
      "guest with an assigned device; detach it first");
  MoveFacts other = facts_of(hostdev_xml);
  other.virtual_function = "ua-vf1";
  EXPECT_EQ(why_refused({}, other),
            "vm0 holds the host's PCI device 0000:03:00.1 (alias ua-vf0), which is not the virtual "
            "function that the cluster file names, and QEMU migrates no guest with an assigned "
            "device; detach it, or name it as virtual_function");
  EXPECT_EQ(why_refused({}, facts_of(shmem_xml)),
            "vm0 still has the shared memory device ua-shm0 in peer mode, which blocks migration; "
            "detach it first");
  MoveFacts unnamed = facts_of(shmem_xml);
  unnamed.ivshmem = "";
  EXPECT_EQ(
      why_refused({}, unnamed),
      "vm0 has the shared memory device ua-shm0 in peer mode, QEMU's default, which blocks "
      "migration; name it as ivshmem in the cluster file, or give it role='master' (its content "
      "then travels with the guest)");
}

TEST(Refusals, shared_memory_of_the_master_may_move) {
  EXPECT_EQ(why_refused({}, facts_of("<shmem name='s' role='master'>"
                                     "<model type='ivshmem-plain'/></shmem>")),
            std::nullopt);
}

TEST(Refusals, a_usb_device_is_left_to_qemu) {
  EXPECT_EQ(why_refused({}, facts_of("<hostdev mode='subsystem' type='usb'><source>"
                                     "<address bus='1' device='2'/></source></hostdev>")),
            std::nullopt);
}

TEST(Refusals, a_disk_that_is_not_shared_stays_behind) {
  MoveFacts facts =
      facts_of("<disk type='file'><source file='/vm.qcow2'/><target dev='vda'/></disk>");
  EXPECT_EQ(why_refused({}, facts), std::nullopt);
  facts.shared_storage = false;
  EXPECT_EQ(why_refused({}, facts),
            "vm0 has the disk vda (/vm.qcow2), but the cluster file says storage: none; with disks "
            "that every host sees, write storage: shared");
}

TEST(Refusals, a_host_without_a_uri_for_the_transport_is_named) {
  MoveFacts facts = facts_of("");
  facts.migrate_uri.clear();
  EXPECT_EQ(why_refused({.transport = Transport::ipoib}, facts),
            "the cluster file has no migrate.ipoib for host1; add the URI by which host1 receives "
            "memory over ipoib");
}

struct OptionsCase {
  const char* name;
  TransferOptions options;
  const char* more;     ///< in the domain
  const char* refusal;  ///< empty: none
};

class OptionRefusals : public testing::TestWithParam<OptionsCase> {};

TEST_P(OptionRefusals, say_what_qemu_would_refuse) {
  const auto refusal = why_refused(GetParam().options, facts_of("", GetParam().more));
  EXPECT_EQ(refusal.value_or(""), GetParam().refusal);
}

constexpr const char* enough = "<memtune><hard_limit unit='GiB'>2</hard_limit></memtune>";
constexpr const char* too_little = "<memtune><hard_limit unit='MiB'>160</hard_limit></memtune>";

INSTANTIATE_TEST_SUITE_P(
    Options, OptionRefusals,
    testing::Values(
        OptionsCase{"rdma", {.transport = Transport::rdma}, enough, ""},
        OptionsCase{"rdma_streams",
                    {.transport = Transport::rdma, .streams = 2},
                    enough,
                    "QEMU sends memory over RDMA in one stream; set streams: 1"},
        OptionsCase{"rdma_compression",
                    {.transport = Transport::rdma, .compression = Compression::xbzrle},
                    enough,
                    "QEMU does not compress memory that it sends over RDMA; set compression: none"},
        OptionsCase{
            "rdma_postcopy",
            {.transport = Transport::rdma, .mode = MemoryMode::postcopy},
            enough,
            "QEMU has no post-copy over RDMA; use mode: precopy and on_stall without postcopy"},
        OptionsCase{"rdma_no_limit",
                    {.transport = Transport::rdma},
                    "",
                    "vm0 has no <memtune><hard_limit>, which libvirt wants for RDMA as the most "
                    "memory that QEMU may lock; give the domain its memory plus what QEMU itself "
                    "needs (1 GiB or more)"},
        OptionsCase{
            "rdma_low_limit",
            {.transport = Transport::rdma},
            too_little,
            "vm0 may lock 160MiB (<memtune><hard_limit>), which does not hold its 160MiB of "
            "memory and QEMU itself; raise it, or set pin_all: false"},
        OptionsCase{"rdma_low_limit_unpinned",
                    {.transport = Transport::rdma, .pin_all = false},
                    too_little,
                    ""},
        OptionsCase{
            "streams_postcopy",
            {.streams = 2, .on_stall = {OnStall::postcopy}},
            "",
            "QEMU combines post-copy with one stream only; set streams: 1, or leave postcopy "
            "out of mode and on_stall"},
        OptionsCase{
            "streams_xbzrle",
            {.compression = Compression::xbzrle, .streams = 2},
            "",
            "QEMU compresses with XBZRLE in one stream only; set streams: 1 or compression: "
            "zstd"},
        OptionsCase{"zstd_one_stream",
                    {.compression = Compression::zstd},
                    "",
                    "zstd compresses the streams of multifd; set streams: 2 or more"},
        OptionsCase{
            "zstd_old_libvirt",
            {.compression = Compression::zstd, .streams = 2},
            "",
            "libvirt offers zstd from 9.4.0 on, and host0 has 9.0.0; set compression: none or "
            "xbzrle, or upgrade libvirt"},
        OptionsCase{"streams", {.streams = 2}, "", ""},
        OptionsCase{"xbzrle", {.compression = Compression::xbzrle}, "", ""}),
    [](const auto& each) { return each.param.name; });

TEST(Refusals, zstd_is_left_to_a_libvirt_that_has_it) {
  MoveFacts facts = facts_of("");
  facts.source_version = facts.destination_version = 9'004'000;
  EXPECT_EQ(why_refused({.compression = Compression::zstd, .streams = 2}, facts), std::nullopt);
  facts.destination_version = 9'003'000;
  EXPECT_NE(why_refused({.compression = Compression::zstd, .streams = 2}, facts), std::nullopt);
}

TEST(Refusals, errors_of_libvirt_are_explained) {
  const Failure devices =
      explained_error(VIR_ERR_OPERATION_INVALID, "migration of hpc-07",
                      "cannot migrate domain: domain has assigned non-USB host devices");
  EXPECT_EQ(devices.kind, FailureKind::refused);
  EXPECT_EQ(devices.reason,
            "migration of hpc-07: cannot migrate domain: domain has assigned non-USB host devices; "
            "detach the host's devices before the migration");
  const Failure peer =
      explained_error(VIR_ERR_OPERATION_FAILED, "migration of hpc-07",
                      "Migration is disabled when using feature 'peer mode' in device 'ivshmem'");
  EXPECT_EQ(peer.kind, FailureKind::refused);
  const Failure memlock =
      explained_error(VIR_ERR_INTERNAL_ERROR, "attach of ua-vf0", "VFIO_MAP_DMA failed: -12");
  EXPECT_EQ(memlock.kind, FailureKind::failed);
  EXPECT_EQ(
      memlock.reason,
      "attach of ua-vf0: VFIO_MAP_DMA failed: -12; raise the locked-memory limit (memlock) of "
      "QEMU on that host");
}

TEST(Refusals, errors_of_rdma_are_explained) {
  struct Case {
    const char* message;
    FailureKind kind;
    const char* advice;
  };
  const Case cases[] = {
      {"internal error: unable to execute QEMU command 'migrate-incoming': RDMA ERROR: could not "
       "create rdma event channel",
       FailureKind::refused,
       "QEMU finds no RDMA device on the destination; see that ibv_devices lists one there, and "
       "let "
       "QEMU open /dev/infiniband (cgroup_device_acl in libvirt's qemu.conf)"},
      {"internal error: unable to execute QEMU command 'migrate': RDMA ERROR: could not create CM "
       "channel",
       FailureKind::refused,
       "QEMU finds no RDMA device on the source; see that ibv_devices lists one there, and let "
       "QEMU "
       "open /dev/infiniband (cgroup_device_acl in libvirt's qemu.conf)"},
      {"RDMA ERROR: Error: could not rdma_bind_addr!", FailureKind::refused,
       "the address of migrate.rdma in the cluster file is of no RDMA device of the destination "
       "(rdma link, ip address)"},
      {"RDMA ERROR: rdma migration: error allocating pd and cq! Your mlock() limits may be too "
       "low. "
       "Please check $ ulimit -a # and search for 'ulimit -l' in the output",
       FailureKind::failed, "raise <memtune><hard_limit> of the domain: QEMU may lock no more"},
  };
  for (const Case& one : cases) {
    const Failure told = explained_error(VIR_ERR_INTERNAL_ERROR, "migration of vm0", one.message);
    EXPECT_EQ(told.kind, one.kind) << one.message;
    EXPECT_EQ(told.reason, std::string("migration of vm0: ") + one.message + "; " + one.advice);
  }
}

TEST(Refusals, other_errors_are_passed_on) {
  const Failure unknown = explained_error(VIR_ERR_INTERNAL_ERROR, "attach", "oops");
  EXPECT_EQ(unknown.kind, FailureKind::failed);
  EXPECT_EQ(unknown.reason, "attach: oops");
  EXPECT_EQ(explained_error(VIR_ERR_AUTH_FAILED, "qemu+tls://node01/system", "no").kind,
            FailureKind::refused);
}

}  // namespace
}  // namespace ferry
