// Memory of a device that comes when the hypervisor says that it is there, or somewhat later.
#include "hw_backend/ranks/ivshmem_part.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "hw_backend/shm/shm_fabric.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::ranks {
namespace {

class Memory : public testing::Test {
 protected:
  void plug_in() const {
    const std::string fresh = file_ + ".new";
    std::ofstream(fresh).close();
    std::filesystem::resize_file(fresh, 1 << 20);
    std::filesystem::rename(fresh, file_);
  }

  ScratchFolder scratch_;
  const std::string file_ = scratch_.path() / "ivshmem";
  ThreadClock clock_{1.0};
  shm::ShmFabric fabric_{shm::Region::make_anonymous({.endpoints = 2, .ranks = 2}), clock_, {}};
  std::unique_ptr<shm::ShmWaitSet> wait_set_ = fabric_.make_shm_wait_set();
  JoinedEndpoint joined_{RankId{0}, *wait_set_};
  IvshmemPart part_{IvshmemPart::Job{"job", 2, RankId{0}}, {file_, 0, 1}, *wait_set_, joined_};
};

TEST_F(Memory, that_comes_late_is_waited_for) {
  std::thread hypervisor([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    plug_in();
  });
  const Result<> opened = part_.open();
  hypervisor.join();
  ASSERT_TRUE(opened) << opened.error().reason;
  EXPECT_TRUE(part_.is_open());
}

TEST_F(Memory, that_does_not_come_is_refused) {
  const Result<> opened = part_.open(Duration::milliseconds(30));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, FailureKind::refused);
  EXPECT_EQ(opened.error().reason, "there is no IVShmem memory " + file_);
}

}  // namespace
}  // namespace ferry::ranks
