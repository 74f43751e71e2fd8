#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "core/record/journal_file.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry {
namespace {

class JournalFileTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string text() const {
    std::ostringstream text;
    text << std::ifstream(file_, std::ios::binary).rdbuf();
    return text.str();
  }
  void overwrite(const std::string& text) const {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << text;
  }

  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
  const std::filesystem::path file_ = folder_ / "journal";
};

TEST(crc32, has_the_published_check_value) {
  EXPECT_EQ(crc32("123456789"), 0xCBF43926U);
  EXPECT_EQ(crc32(""), 0U);
}

TEST_F(JournalFileTest, what_was_appended_is_read_back_in_order) {
  {
    JournalFile journal(file_);
    journal.append("vm0 detach_vf begin");
    journal.append("");
    journal.sync();
    journal.append("vm0 detach_vf end");
  }
  const auto contents = read_journal(text());
  ASSERT_TRUE(contents.has_value());
  EXPECT_EQ(contents->records,
            (std::vector<std::string>{"vm0 detach_vf begin", "", "vm0 detach_vf end"}));
  EXPECT_FALSE(contents->torn);
}

TEST_F(JournalFileTest, memory_and_file_hold_the_same_text) {
  MemoryJournal memory;
  JournalFile file(file_);
  for (Journal* journal : {static_cast<Journal*>(&memory), static_cast<Journal*>(&file)}) {
    journal->append("one");
    journal->append("two");
    journal->sync();
  }
  EXPECT_EQ(memory.text(), text());
  EXPECT_EQ(memory.text(),
            "1 " + text().substr(2, 8) + " one\n2 " + text().substr(17, 8) + " two\n");
}

TEST_F(JournalFileTest, a_record_is_in_the_file_before_it_is_synced) {
  JournalFile journal(file_);
  journal.append("intent");
  EXPECT_EQ(read_journal(text())->records.size(), 1U);
}

/// No file of this process grows beyond `bytes` while it lives.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit full{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &full);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*signal_)(int);
};

TEST_F(JournalFileTest, what_a_full_disk_cuts_off_leaves_no_gap_whatever_has_room_later) {
  JournalFile journal(file_);
  journal.append("one");
  journal.sync();
  {
    const FullDisk full(text().size() + 10);
    EXPECT_THROW(journal.append("two, of which there is room for a part"), JournalError);
  }
  EXPECT_THROW(journal.append("three"), JournalError);
  EXPECT_THROW(journal.sync(), JournalError);
  const auto contents = read_journal(text());
  ASSERT_TRUE(contents.has_value()) << contents.error();
  EXPECT_EQ(contents->records, std::vector<std::string>{"one"});
  EXPECT_FALSE(contents->torn);
}

TEST_F(JournalFileTest, goes_on_behind_the_last_good_record_after_a_crash) {
  {
    JournalFile journal(file_);
    journal.append("first");
    journal.append("second");
  }
  const std::string whole = text();
  overwrite(whole.substr(0, whole.size() - 3));  // the crash tore the second record
  {
    JournalFile journal(file_);
    journal.append("again");
  }
  EXPECT_EQ(read_journal(text())->records, (std::vector<std::string>{"first", "again"}));
}

TEST_F(JournalFileTest, a_damaged_file_is_refused) {
  overwrite("1 00000000 wrong\n" + journal_line(2, "right"));
  try {
    const JournalFile journal(file_);
    FAIL() << "accepted";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(
        error.what(),
        file_.string() + ": line 1: record 1 is damaged or missing, but later ones are there");
  }
}

TEST_F(JournalFileTest, a_file_that_cannot_be_made_is_an_error_with_its_name) {
  try {
    const JournalFile journal(folder_ / "none" / "journal");
    FAIL() << "opened";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(error.what(), (folder_ / "none" / "journal").string() +
                                ": the journal cannot be opened: No such file or directory");
  }
}

TEST(read_journal, cut_anywhere_gives_the_records_before_the_cut) {
  std::string whole;
  std::vector<std::size_t> ends = {0};
  for (std::uint64_t i = 1; i <= 4; ++i) {
    whole += journal_line(i, "record " + std::to_string(i));
    ends.push_back(whole.size());
  }
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    const auto contents = read_journal(std::string_view(whole).substr(0, cut));
    ASSERT_TRUE(contents.has_value()) << cut;
    const auto complete = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), cut) -
                                                   ends.begin() - 1);
    EXPECT_EQ(contents->records.size(), complete) << cut;
    EXPECT_EQ(contents->good_bytes, ends[complete]) << cut;
    EXPECT_EQ(contents->torn, cut != ends[complete]) << cut;
  }
}

TEST(read_journal, a_garbled_end_is_torn_and_a_garbled_middle_an_error) {
  const std::string one = journal_line(1, "one");
  const std::string two = journal_line(2, "two");
  EXPECT_TRUE(read_journal(one + "2 deadbeef two\n")->torn);
  EXPECT_TRUE(read_journal(one + std::string("\0\0\0\n\0", 5))->torn);
  const std::string damage = "is damaged or missing, but later ones are there";
  EXPECT_EQ(read_journal(one + "garbage\n" + journal_line(3, "three")).error(),
            "line 2: record 2 " + damage);
  EXPECT_EQ(read_journal(one + one).error(), "line 2: record 2 " + damage);  // doubled
  EXPECT_EQ(read_journal(two).error(), "line 1: record 1 " + damage);        // lost
}

TEST(read_journal, survives_any_bytes_and_any_single_changed_byte) {
  EXPECT_TRUE(rc::check("any text", [](const std::string& text) {
    const auto contents = read_journal(text);
    if (contents) RC_ASSERT(contents->good_bytes <= text.size());
  }));
  EXPECT_TRUE(rc::check("one byte", [] {
    std::string text = journal_line(1, "vm0 begin") + journal_line(2, "vm0 end");
    const auto position = *rc::gen::inRange<std::size_t>(0, text.size());
    const auto changed = *rc::gen::distinctFrom(text[position]);
    text[position] = changed;
    const auto contents = read_journal(text);
    // Never a wrong record: the first may be lost with an error, the last as torn.
    if (contents) {
      for (const std::string& record : contents->records) {
        RC_ASSERT(record == "vm0 begin" || record == "vm0 end");
      }
      RC_ASSERT(contents->torn);
    }
  }));
}

TEST_F(JournalFileTest, belongs_to_one_process_at_a_time_which_others_can_name) {
  EXPECT_EQ(journal_writer(file_), std::nullopt);
  JournalFile journal(file_);
  journal.append("one");
  const pid_t owner = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    int wrong = journal_writer(file_) == owner ? 0 : 1;
    try {
      const JournalFile second(file_);
      wrong += 2;
    } catch (const std::runtime_error& error) {
      if (error.what() != file_.string() + ": another controller (process " +
                              std::to_string(owner) + ") is at work with it") {
        wrong += 4;
      }
    }
    ::_exit(wrong);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(JournalFileTest, of_a_process_that_died_is_free) {
  const pid_t child = ::fork();
  if (child == 0) {
    JournalFile journal(file_);
    journal.append("one");
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(journal_writer(file_), std::nullopt);
  EXPECT_TRUE(await_journal_writer(file_));
  const JournalFile next(file_);
  EXPECT_EQ(next.found(), std::vector<std::string>{"one"});
}

TEST(memory_journal, holds_every_record_of_a_long_run_in_order) {
  MemoryJournal memory;
  std::string lines;
  const std::string record(1'000, 'x');
  for (std::uint64_t i = 1; i <= 3'000; ++i) {  // some megabytes
    memory.append(i == 2'000 ? std::string(2'000'000, 'y') : record);
    lines += journal_line(i, i == 2'000 ? std::string(2'000'000, 'y') : record);
  }
  EXPECT_EQ(memory.text() == lines, true);  // not printed
}

TEST(memory_journal, goes_on_behind_the_last_good_record_of_a_text) {
  MemoryJournal first;
  first.append("one");
  const std::string two = journal_line(2, "two");
  MemoryJournal next(first.text() + two.substr(0, two.size() / 2));
  next.append("other");
  EXPECT_EQ(next.text(), journal_line(1, "one") + journal_line(2, "other"));
}

}  // namespace
}  // namespace ferry
