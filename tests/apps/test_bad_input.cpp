#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "tests/apps/tiny_runs.h"
#include "tests/data/png_bytes.h"

using namespace vitrine;
using namespace vitrine::testing;

namespace {

std::string png(int64_t height, int64_t width, uint8_t value) {
  return data::encode_png({height, width, 3, std::vector<uint8_t>(size_t(3 * height * width), value)});
}

/// Three classes to train on, of which val lacks one; pictures of every size, and three that are none or too large.
struct OddFolder {
  explicit OddFolder(const ScratchFolder& scratch) : path(scratch.file("odd")) {
    for (int i = 0; i < 12; ++i)
      for (const char* c : {"a", "b", "c"})
        write(format("train/{}/{}.png", c, i), png(20 + i, 30 - i, uint8_t(80 * (c[0] - 'a') + i)));
    for (const char* c : {"a", "c"}) write(format("val/{}/0.png", c), png(9, 8, uint8_t(80 * (c[0] - 'a'))));
    write("train/a/one.png", png(1, 1, 0));
    write("train/a/row.png", png(1, 20000, 0));
    write("train/a/column.png", png(20000, 1, 0));
    write("train/b/square.png", png_with_size(png(1, 20000, 0), 20000, 20000));
    write("train/b/picture.webp", "RIFF\x24xxxWEBPVP8 ");
    write("train/c/cut.png", png(30, 30, 7).substr(0, 60));
    write("train/c/notes.txt", "no picture, and not taken for one");
  }
  void write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path file = path + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
  }
  std::string path;
};

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// What a program does that starts from here as one for which permissions hold, also if root starts it.
void as_anyone() {
  if (geteuid() != 0) return;
  for (const int capability : {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH})
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) _exit(126);
}

/// Permissions of a file or folder, until they are given back.
struct Permissions {
  Permissions(const std::string& of, int mode) : path(of) { chmod(of.c_str(), mode_t(mode)); }
  ~Permissions() { chmod(path.c_str(), 0700); }
  std::string path;
};

}  // namespace

TEST_CASE("bad input: a folder that cannot be written to is one error, and nothing in it", "[apps]") {
  const ScratchFolder folder("readonly");
  const TinyMnist data(folder);
  const std::string shut = folder.file("shut"), picture = folder.write("p.png", png(28, 28, 9));
  std::filesystem::create_directory(shut);
  const Permissions permissions(shut, 0555);
  const auto fails = [&](std::vector<std::string> words, const std::string& part) {
    const Finished run = run_program(words, {.in_child = as_anyone});
    INFO(run.err);
    CHECK(run.status == 1);
    CHECK(run.ends_in_one_error());
    CHECK(run.err.find(part + "Permission denied") != std::string::npos);
    CHECK(std::filesystem::is_empty(shut));
  };
  const std::string form = "mnist:" + data.path;
  fails({"train", "--data", form, "--out", shut, "--epochs", "1"}, "cannot write " + shut + "/config.json: ");
  fails({"train", "--data", form, "--out", shut + "/run", "--epochs", "1"}, shut + "/run: cannot be made: ");
  fails({"samples", "--data", form, "--out", shut + "/run"}, shut + "/run: cannot be made: ");
  fails({"rpe", "--method", "euc", "--ratio", "2", "--grid", "2x2", "--png", shut + "/x.png"},
        "cannot write " + shut + "/x.png: ");
}

TEST_CASE("bad input: a file or folder that may not be read is one error that says so", "[apps]") {
  const ScratchFolder folder("unreadable");
  const TinyMnist data(folder);
  const std::string closed = folder.file("closed"), file = folder.write("file", "x"), out = folder.file("out");
  std::filesystem::create_directories(closed + "/train/a");
  const Permissions no_folder(closed, 0), no_file(file, 0);
  const auto fails = [&](std::vector<std::string> words, const std::string& part) {
    const Finished run = run_program(words, {.in_child = as_anyone});
    INFO(run.err);
    CHECK(run.status == 3);
    CHECK(run.is_one_error());
    CHECK(run.err.find(part + "Permission denied") != std::string::npos);
  };
  for (const std::string& form : {"imagefolder:" + closed, "multilabel:" + closed})
    fails({"samples", "--split", "train", "--data", form + "/x", "--out", out}, closed + "/x: ");
  fails({"samples", "--split", "train", "--data", "imagefolder:" + closed, "--out", out}, closed + "/train: ");
  fails({"samples", "--split", "train", "--data", "multilabel:" + closed, "--out", out},
        closed + "/classes.txt: cannot be read: ");
  fails({"samples", "--split", "train", "--data", "mnist:" + closed, "--out", out},
        closed + "/train-labels-idx1-ubyte: ");
  fails({"samples", "--split", "train", "--data", "cifar10:" + closed, "--out", out}, closed + "/data_batch_1.bin: ");
  fails({"eval", "--checkpoint", closed + "/x.safetensors"}, closed + "/x.safetensors: ");
  fails({"eval", "--checkpoint", file}, file + ": cannot be opened: ");
  fails({"train", "--data", "mnist:" + data.path, "--out", closed}, closed + "/checkpoint.safetensors: ");
}

TEST_CASE("bad input: a folder with odd and bad images trains, and says what it passed over", "[apps]") {
  const ScratchFolder folder("badinput");
  const OddFolder data(folder);
  const std::string out = folder.file("run");
  const auto words = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"train", "--data", "imagefolder:" + data.path, "--model", "deit_tiny_patch4_32", "--out",
                               out, "--epochs", "2", "--batch-size", "8", "--image-size", "36"});
    return more;
  };
  const Finished run = run_program(words({"--ThreeAugment", "--src", "--color-jitter", "0.3", "--flip"}));
  INFO(run.err);
  REQUIRE(run.status == 0);
  CHECK(count(run.err, "skipped: ") == 3);  // once, not in each epoch
  CHECK(run.err.find("skipped: " + data.path +
                     "/train/b/square.png: has 20000 x 20000 pixels, more than the limit of 100000000\n") !=
        std::string::npos);
  CHECK(run.err.find("skipped: " + data.path + "/train/b/picture.webp: is a WebP image, not a JPEG") !=
        std::string::npos);
  CHECK(run.err.find("skipped: " + data.path + "/train/c/cut.png: is truncated") != std::string::npos);
  CHECK(run.err.find(": 3 of its images could not be read and were skipped\n") != std::string::npos);
  CHECK(count(run.err, "note: " + data.path + "/val: has no folder for 1 of the 3 classes: 'b'; their numbers stay") ==
        1);

  const std::string checkpoint = out + "/checkpoint.safetensors";
  const Finished eval = run_program({"eval", "--checkpoint", checkpoint, "--json"});
  INFO(eval.err);
  REQUIRE(eval.status == 0);
  CHECK(eval.json()["images"] == 2);
  CHECK(count(eval.err, "has no folder for 1 of the 3 classes: 'b'") == 1);

  const Finished one = run_program({"predict", "--checkpoint", checkpoint, "--json", data.path + "/train/a/one.png",
                                    data.path + "/train/a/row.png", data.path + "/train/a/column.png"});
  REQUIRE(one.status == 0);
  CHECK(one.json().size() == 3);
  CHECK(one.json()[0]["top"].size() == 3);
  const Finished webp = run_program(
      {"predict", "--checkpoint", checkpoint, data.path + "/train/a/one.png", data.path + "/train/b/picture.webp"});
  CHECK(webp.status == 3);
  CHECK(webp.is_one_error());
  CHECK(webp.err.find(
            "picture.webp: is a WebP image, not a JPEG, PNG, BMP, GIF, PSD or PNM image; convert it to one, such as "
            "PNG") != std::string::npos);
}

TEST_CASE("bad input: classes and labels that do not fit are one error", "[apps]") {
  const ScratchFolder folder("badclasses");
  const OddFolder data(folder);
  const auto fails = [&](const std::string& form, std::vector<std::string> more, const std::string& part) {
    more.insert(more.begin(), {"train", "--data", form, "--model", "deit_tiny_patch4_32", "--out", folder.file("run"),
                               "--epochs", "1", "--batch-size", "8"});
    const Finished run = run_program(more);
    INFO(run.err);
    CHECK(run.is_one_error());
    CHECK(run.err.find(part) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(folder.file("run")));
    return run.status;
  };
  const std::string pictures = "imagefolder:" + data.path;
  CHECK(fails(pictures, {"--num-classes", "2"}, "has 3 classes, but the model's head has 2; give --num-classes 3") ==
        2);
  data.write("val/d/0.png", png(3, 3, 1));
  CHECK(fails(pictures, {}, "/train: has no folder for the class 'd' of " + data.path + "/val") == 3);
  std::filesystem::remove_all(data.path + "/val/d");
  std::filesystem::create_directories(data.path + "/train/empty");
  CHECK(fails(pictures, {}, "/train/empty: has no images; add some") == 3);
  std::filesystem::remove_all(data.path + "/train");
  CHECK(fails(pictures, {}, "/train: no such folder; images belong in ") == 3);

  const TinyMnist digits(folder);
  std::fstream labels(digits.path + "/train-labels-idx1-ubyte", std::ios::binary | std::ios::in | std::ios::out);
  labels.seekp(8 + 5), labels.put(11), labels.close();
  CHECK(fails("mnist:" + digits.path, {}, "train-labels-idx1-ubyte: label 5 is 11; MNIST has classes 0 to 9") == 3);
  data.write("test_batch.bin", std::string(1, 12) + std::string(3072, 'x'));
  for (int k = 1; k <= 5; ++k) data.write(format("data_batch_{}.bin", k), std::string(3073, 1));
  CHECK(fails("cifar10:" + data.path, {}, "test_batch.bin: image 0 has label 12; CIFAR-10 has classes 0 to 9") == 3);
}
