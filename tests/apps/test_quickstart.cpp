#include "tests/apps/tiny_runs.h"

using namespace vitrine;
using namespace vitrine::testing;
using vitrine::testing::Contains;

namespace {

/// The script in a clone of its own: the program of this build, a few images under the names of the data sets, and on
/// the PATH a cmake that builds nothing and a package manager that installs nothing.
struct Clone {
  ScratchFolder folder{"quickstart"};
  TinyMnist data{folder, 64, 40};

  /// @param fashion  whether the package with Fashion-MNIST is there
  explicit Clone(bool fashion) {
    const std::string source = VITRINE_SOURCE_DIR;
    for (const char* name : {"apps", "build", "bin"}) std::filesystem::create_directory(folder.file(name));
    for (const char* name : {"/apps/quickstart.sh", "/apps/packages.sh"})
      std::filesystem::copy_file(source + name, folder.file("") + name);
    script("bin/cmake", "exit 0");
    script("bin/nvidia-smi", "exit 1");
    script("bin/dpkg-query",
           fashion ? "printf installed" : "case \"$*\" in *fashion*) exit 1;; *) printf installed;; esac");
    script("bin/apt-get", "exit 1");
    script("bin/sudo", "exec \"$@\"");
    script("build/vitrine",
           "echo \"$*\" >> calls\nfor word; do shift; case $word in fashion-mnist | shapes) word=mnist:" + data.path +
               ";; esac; set -- \"$@\" \"$word\"; done\nexec " + program() + " \"$@\"");
  }
  void script(const std::string& name, const std::string& lines) const {
    folder.write(name, "#!/bin/sh\n" + lines + "\n");
    std::filesystem::permissions(folder.file(name), std::filesystem::perms::owner_all);
  }
  /// Runs a shell's command line in the clone; what it prints, and `status`, its exit status.
  std::string run(const std::string& line, int status = 0) const {
    const std::string command = "cd " + folder.file("") + " && PATH=" + folder.file("bin") + ":$PATH && (" + line +
                                ") > printed 2>&1 < /dev/null";
    const int ended = std::system(command.c_str());
    std::string printed = folder.read("printed");
    INFO(printed);
    CHECK(WEXITSTATUS(ended) == status);
    return printed;
  }
};

}  // namespace

TEST_CASE("quickstart: trains, evaluates and predicts; called again it goes on by the run's settings",
          "[apps][plain]") {
  const Clone clone(true);
  CHECK_THAT(clone.run("apps/quickstart.sh --out elsewhere", 2), Contains("quickstart: --out is set here"));
  CHECK_THAT(clone.run("apps/quickstart.sh --epochs 1 --data=shapes", 2), Contains("--data=shapes is set here"));
  CHECK_FALSE(std::filesystem::exists(clone.folder.file("runs")));

  const std::string first = clone.run("apps/quickstart.sh --epochs 1 --batch-size 16");
  const std::string out = clone.folder.file("runs/quickstart");
  CHECK(metrics(out).size() == 1);
  CHECK_THAT(first, Contains("top-1 ") && Contains("40 images") && Contains("samples/00000-0.png\n") &&
                        Contains("samples/00004-4.png\n") && !Contains("Going on"));
  CHECK_THAT(clone.folder.read("calls"), Contains("train --data fashion-mnist --out runs/quickstart --resume --model "
                                                  "deit_micro_patch4_28 --rpe rpe-1.9-product-ctx-1-k"));
  for (const char* made : {"/checkpoint.safetensors", "/best.safetensors", "/metrics.jsonl", "/curves.svg"})
    CHECK(std::filesystem::exists(out + made));
  // The commands that it proposes work as they are printed.
  for (const char* command : {"build/vitrine inspect", "build/vitrine rpe"}) {
    const size_t from = first.find(command);
    REQUIRE(from != std::string::npos);
    clone.run(first.substr(from, first.find('\n', from) - from).substr(0, first.find("   ", from) - from));
  }
  CHECK(std::filesystem::exists(clone.folder.file("page.html")));

  CHECK_THAT(clone.run("apps/quickstart.sh"),
             Contains("Going on with the run in runs/quickstart, by its settings") && Contains("top-1 "));
  CHECK(metrics(out).size() == 1);  // of one epoch, which is done
  CHECK_THAT(clone.run("apps/quickstart.sh --lr 1", 2), Contains("has --lr 0.002, not 1.0; leave the flag out"));
}

TEST_CASE("quickstart: without Fashion-MNIST it trains on shapes; a failed build is said", "[apps][plain]") {
  const Clone clone(false);
  CHECK_THAT(clone.run("apps/quickstart.sh --epochs 1 --batch-size 16"),
             Contains("No Fashion-MNIST; training on generated shapes instead") && Contains("top-1 "));
  CHECK(metrics(clone.folder.file("runs/quickstart-shapes")).size() == 1);
  CHECK_THAT(clone.folder.read("calls"), Contains("train --data shapes --out runs/quickstart-shapes"));
  clone.script("bin/cmake", "echo x.cpp:1: error: broken; exit 1");
  CHECK_THAT(clone.run("apps/quickstart.sh", 1), Contains("x.cpp:1: error: broken") && Contains("The build failed"));
}
