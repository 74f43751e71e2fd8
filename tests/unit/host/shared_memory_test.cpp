// What in /dev/shm nobody needs, and that nothing else goes. The kernel's leases are real.
#include "hw_backend/host/shared_memory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "hw_backend/shm/layout.hpp"
#include "tests/unit/host/system_picture.hpp"

namespace ferry::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string layout() {
  const std::uint64_t magic = shm::region_magic;
  return std::string(reinterpret_cast<const char*>(&magic), sizeof magic) + std::string(4088, 'x');
}
std::string domain(const std::string& shmem) {
  return "<domstatus><domain><devices>\n<shmem name='" + shmem +
         "' role='peer'>\n<model type='ivshmem-plain'/></shmem></devices></domain></domstatus>\n";
}

class SharedMemoryTest : public testing::Test {
 protected:
  std::vector<SharedMemory> look(const std::vector<std::string>& named = {}) {
    const Tree tree = picture_.tree();
    return look_at_shared_memory(tree, look_at_processes(tree), named);
  }
  std::string kept(const std::string& name) {
    for (const SharedMemory& file : look({name})) {
      if (file.name == name) return file.kept;
    }
    return "not listed";
  }
  std::string removal(const SharedMemory& file) {
    const Result<> removed = remove_shared_memory(picture_.tree(), file);
    return removed ? "removed" : removed.error().reason;
  }
  bool is_there(const std::string& name) {
    return std::filesystem::exists(picture_.root() / "dev/shm" / name);
  }
  void add_file(const std::string& name, const std::string& content = "something") {
    picture_.write("dev/shm/" + name, content);
  }

  SystemPicture picture_;
};

TEST_F(SharedMemoryTest, files_of_others_are_left_out_unless_they_are_named) {
  add_file("pulse-shm-1");
  add_file("ferry-0-job", layout());
  add_file("jobs");
  add_file("old");
  picture_.write("etc/libvirt/qemu/hpc-07.xml", domain("jobs"));
  std::filesystem::create_directories(picture_.root() / "dev/shm/folder");
  std::filesystem::create_symlink("jobs", picture_.root() / "dev/shm/link");
  const auto names = [](const std::vector<SharedMemory>& files) {
    std::vector<std::string> all;
    for (const SharedMemory& file : files) all.push_back(file.name);
    return all;
  };
  EXPECT_THAT(names(look()), ElementsAre("ferry-0-job", "jobs"));
  EXPECT_THAT(names(look({"old", "folder", "link"})), ElementsAre("ferry-0-job", "jobs", "old"));
  EXPECT_TRUE(look().front().ferry);
  EXPECT_THAT(look().back().defined_domains, ElementsAre("hpc-07"));
  EXPECT_EQ(look().back().kept, "") << "a domain that does not run gets it anew";
}

TEST_F(SharedMemoryTest, a_domains_xml_is_read_whatever_quotes_and_spaces_it_has) {
  for (const std::string start :
       {"<shmem name='jobs'/>", "<shmem name=\"jobs\">", "<shmem  \n role='peer' name='jobs'>"}) {
    add_file("jobs");
    picture_.write("etc/libvirt/qemu/a.xml", "<domain>" + start + "</domain>");
    EXPECT_EQ(look().size(), 1U) << start;
  }
  picture_.write("etc/libvirt/qemu/a.xml", "<shmem name='jobs2'/><shmem name='a'/> name='jobs'");
  EXPECT_THAT(look(), IsEmpty());
}

TEST_F(SharedMemoryTest, what_a_running_domain_names_stays) {
  add_file("jobs");
  for (const std::string folder : {"run/libvirt/qemu", "run/user/1000/libvirt/qemu/run"}) {
    picture_.write(folder + "/hpc-07.xml", domain("jobs"));
    EXPECT_EQ(kept("jobs"), "running domain hpc-07 names it");
    std::filesystem::remove_all(picture_.root() / "run");
  }
  picture_.write("run/libvirt/qemu/hpc-07.xml", "<source path='/dev/shm/jobs'/>");
  EXPECT_EQ(kept("jobs"), "running domain hpc-07 names it");
  picture_.write("run/libvirt/qemu/hpc-07.xml", domain("jobs2"));
  EXPECT_EQ(kept("jobs"), "");
}

TEST_F(SharedMemoryTest, names_with_special_characters_are_found_as_xml_has_them) {
  add_file("a&b<c>");
  picture_.write("run/libvirt/qemu/x.xml", domain("a&amp;b&lt;c&gt;"));
  EXPECT_EQ(kept("a&b<c>"), "running domain x names it");
}

TEST_F(SharedMemoryTest, what_a_process_has_stays) {
  add_file("jobs");
  struct stat facts {};
  ASSERT_EQ(stat((picture_.root() / "dev/shm/jobs").c_str(), &facts), 0);
  char by_number[200];
  snprintf(by_number, sizeof by_number,
           "7f00-7f01 rw-s 00000000 %02x:%02x %lu    /elsewhere/jobs (deleted)\n",
           major(facts.st_dev), minor(facts.st_dev), facts.st_ino);
  const std::string by_path = "7f00-7f01 rw-p 00000000 00:99 5   /dev/shm/jobs\n";
  const std::string reason = "qemu-system-x86 (7) has it";
  EXPECT_EQ(kept("jobs"), "");
  picture_.add_process(7, "qemu-system-x86", "qemu", by_path);
  EXPECT_EQ(kept("jobs"), reason) << "mapped by its path, perhaps in another namespace";
  picture_.add_process(7, "qemu-system-x86", "qemu", by_number);
  EXPECT_EQ(kept("jobs"), reason) << "mapped as the same file";
  picture_.add_process(7, "qemu-system-x86", "qemu", "", {"/dev/shm/jobs"});
  EXPECT_EQ(kept("jobs"), reason) << "open";
  picture_.add_process(7, "qemu-system-x86", std::string("qemu\0mem-path=/dev/shm/jobs\0", 28),
                       "garbled\n\n7f00 rw-s\n", {"/dev/shm/jobs3"});
  EXPECT_EQ(kept("jobs"), "") << "it was unplugged since";
}

TEST_F(SharedMemoryTest, what_nobody_needs_goes_and_nothing_else) {
  add_file("ferry-0-job", layout());
  add_file("other");
  EXPECT_EQ(removal(look().front()), "removed");
  EXPECT_FALSE(is_there("ferry-0-job"));
  EXPECT_TRUE(is_there("other"));
  EXPECT_EQ(picture_.tree().names("dev/shm").size(), 1U) << "no other name is left of it";
}

TEST_F(SharedMemoryTest, what_must_stay_is_not_removed_though_asked) {
  add_file("jobs", layout());
  picture_.write("run/libvirt/qemu/hpc-07.xml", domain("jobs"));
  EXPECT_EQ(removal(look().front()), "running domain hpc-07 names it");
  EXPECT_TRUE(is_there("jobs"));
}

TEST_F(SharedMemoryTest, the_kernel_knows_who_has_it_where_proc_does_not) {
  add_file("jobs", layout());
  const SharedMemory file = look().front();
  ASSERT_EQ(file.kept, "");
  const int opened = open((picture_.root() / "dev/shm/jobs").c_str(), O_RDWR);
  ASSERT_GE(opened, 0);
  EXPECT_EQ(removal(file), "a process that this one does not see has it");
  void* const memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, opened, 0);
  ASSERT_NE(memory, MAP_FAILED);
  close(opened);
  EXPECT_EQ(removal(file), "a process that this one does not see has it") << "mapped alone";
  munmap(memory, 4096);
  EXPECT_TRUE(is_there("jobs"));
  EXPECT_EQ(removal(file), "removed");
}

TEST_F(SharedMemoryTest, a_domain_that_begins_after_the_look_keeps_it) {
  add_file("jobs", layout());
  const SharedMemory file = look().front();
  picture_.write("run/libvirt/qemu/late.xml", domain("jobs"));
  EXPECT_EQ(removal(file), "a domain that began meanwhile names it: late");
  EXPECT_TRUE(is_there("jobs"));
}

TEST_F(SharedMemoryTest, what_went_by_itself_is_told) {
  add_file("jobs", layout());
  const SharedMemory file = look().front();
  std::filesystem::remove(picture_.root() / "dev/shm/jobs");
  EXPECT_THAT(removal(file), HasSubstr("cannot be opened: No such file"));
  std::filesystem::create_symlink("other", picture_.root() / "dev/shm/jobs");
  EXPECT_THAT(removal(file), HasSubstr("cannot be opened")) << "links are not followed";
}

}  // namespace
}  // namespace ferry::host
