#include <sys/wait.h>
#include <unistd.h>

#include <ostream>

#include "core/files.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

using namespace vitrine;
using vitrine::testing::Contains;

TEST_CASE("files: a file appears whole, or stays what it was", "[unit]") {
  const testing::ScratchFolder folder("files");
  const std::string file = folder.write("x", "before");
  struct Stop {};
  CHECK_THROWS_AS(write_file_atomically(file,
                                        [](std::ostream& out) {
                                          out << "half";
                                          throw Stop();
                                        }),
                  Stop);
  CHECK(folder.read("x") == "before");
  write_file_atomically(file, [](std::ostream& out) { out << "after"; });
  CHECK(folder.read("x") == "after");
  CHECK(folder.list() == std::vector<std::string>{"x"});
  const auto nothing = [](std::ostream&) {};
  CHECK_THROWS_AS(write_file_atomically(folder.file("no/x"), nothing), WriteError);
  CHECK_THROWS_WITH(write_file_atomically(folder.file(""), nothing), Contains("it is not a regular file"));
  CHECK_THROWS_WITH(write_file_atomically("/dev/null", nothing), "cannot write /dev/null: it is not a regular file");
}

TEST_CASE("files: what killed processes left is removed, and nothing else", "[unit]") {
  const testing::ScratchFolder folder("files");
  const pid_t dead = fork();
  if (dead == 0) _exit(0);
  waitpid(dead, nullptr, 0);
  const std::string number = std::to_string(dead), ours = "x." + std::to_string(getpid()) + ".tmp";
  std::vector<std::string> kept = {ours, "x.tmp", ".tmp", "x..tmp", "x.12a.tmp", "x.-1.tmp", "x." + number, number};
  for (const std::string& name : kept) folder.write(name, "");
  for (const std::string& name : {"x." + number + ".tmp", "a b.safetensors." + number + ".tmp"}) folder.write(name, "");
  remove_stale_temporaries(folder.file(""));
  std::sort(kept.begin(), kept.end());
  CHECK(folder.list() == kept);
  remove_stale_temporaries(folder.file("none"));  // no folder, nothing to remove
}
