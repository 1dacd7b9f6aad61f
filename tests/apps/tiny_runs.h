#pragma once
#include <csignal>

#include "data/checkpoint/safetensors.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

/// Training in a second: a data set of striped images, runs that are killed, and their comparison.
namespace vitrine::testing {

inline void append_u32(std::string& out, uint32_t x) {
  for (int shift = 24; shift >= 0; shift -= 8) out += char(x >> shift);
}

/// Brightness of pixel p of an image of class `label`: stripes whose direction and width tell the class, and some
/// noise.
inline int stripes(int label, int i, int p) {
  const int along = label < 5 ? p % 28 : p / 28;
  return along % (label % 5 + 2) == 0 ? 255 : (i * 31 + p * 7) % 64;
}

/// An MNIST folder of idx files with `train` and `test` images.
struct TinyMnist {
  explicit TinyMnist(const ScratchFolder& folder, int train = 96, int test = 40) : path(folder.file("mnist")) {
    std::filesystem::create_directories(path);
    for (const auto& [stem, count] : {std::pair{"train", train}, {"t10k", test}}) {
      std::string images, labels;
      append_u32(images, 0x803), append_u32(labels, 0x801);
      for (const int n : {count, 28, 28}) append_u32(images, uint32_t(n));
      append_u32(labels, uint32_t(count));
      for (int i = 0; i < count; ++i) {
        const int label = i % 10;
        labels += char(label);
        for (int p = 0; p < 28 * 28; ++p) images += char(stripes(label, i, p));
      }
      std::ofstream(path + "/" + stem + "-images-idx3-ubyte", std::ios::binary) << images;
      std::ofstream(path + "/" + stem + "-labels-idx1-ubyte", std::ios::binary) << labels;
    }
  }
  std::string path;
};

/// A run of 2 epochs of 6 steps each, with everything random switched on.
inline std::vector<std::string> train_words(const TinyMnist& data, const std::string& out,
                                            std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"train",
                                    "--data",
                                    "mnist:" + data.path,
                                    "--out",
                                    out,
                                    "--epochs",
                                    "2",
                                    "--batch-size",
                                    "16",
                                    "--rpe",
                                    "rpe-1.9-product-ctx-1-k",
                                    "--drop-path",
                                    "0.2",
                                    "--dropout",
                                    "0.1",
                                    "--pad-crop",
                                    "2",
                                    "--ema",
                                    "0.9",
                                    "--clip-grad",
                                    "1",
                                    "--seed",
                                    "7"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// An image folder of two classes: green and red pictures, each of a size of its own. One of val/red is no picture.
struct TinyFolder {
  explicit TinyFolder(const ScratchFolder& folder, int train = 24, int val = 6) : path(folder.file("pictures")) {
    for (const auto& [split, count] : {std::pair{"train", train}, {"val", val}})
      for (int i = 0; i < count; ++i) {
        const bool red = i % 2 == 1;
        const std::string file = path + "/" + split + (red ? "/red/" : "/green/") + std::to_string(i) + ".png";
        data::Image image{.height = 30 + i % 7, .width = 40 - i % 5, .channels = 3, .pixels = {}};
        for (int64_t p = 0; p < image.height * image.width; ++p)
          for (const int v : {red ? 200 : 30, red ? 20 : 180, int(p * 7 + i * 31) % 64})
            image.pixels.push_back(uint8_t(v));
        std::filesystem::create_directories(std::filesystem::path(file).parent_path());
        data::write_png(file, image);
      }
    std::ofstream(bad = path + "/val/red/bad.png") << "no picture";
  }
  std::string path, bad;
};

/// Runs the program and sends it `signal` after so many milliseconds. Returns as wait_program.
inline int run_and_signal(const std::vector<std::string>& arguments, int milliseconds, int signal) {
  const pid_t pid = start_file(program(), arguments, "/dev/null", "/dev/null");
  usleep(useconds_t(milliseconds) * 1000);
  kill(pid, signal);
  return wait_program(pid);
}

/// Waits until `there` is true, at most half a minute.
inline void await(const std::function<bool()>& there) {
  for (int i = 0; i < 3000 && !there(); ++i) usleep(10'000);
}

/// The metadata of a checkpoint's entry "vitrine.training".
inline nlohmann::json training_state(const std::string& checkpoint) {
  for (const auto& [key, value] : data::read_safetensors(checkpoint).metadata)
    if (key == "vitrine.training") return nlohmann::json::parse(value);
  return {};
}

/// Whether a folder holds files that were being written.
inline bool has_temporaries(const std::string& folder) {
  const std::filesystem::directory_iterator files(folder);
  return std::any_of(begin(files), end(files), [](const auto& f) { return f.path().extension() == ".tmp"; });
}

/// The number of a process that has ended.
inline pid_t ended_process() {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
  return pid;
}

/// The lines of metrics.jsonl.
inline std::vector<nlohmann::json> metrics(const std::string& folder) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(folder + "/metrics.jsonl");
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// Checks that two runs left equal weights, optimizers and metrics.
inline void check_same_run(const std::string& a, const std::string& b) {
  for (const char* name : {"/checkpoint.safetensors", "/best.safetensors"}) {
    const data::Safetensors x = data::read_safetensors(a + name), y = data::read_safetensors(b + name);
    REQUIRE(x.tensors.size() == y.tensors.size());
    for (size_t i = 0; i < x.tensors.size(); ++i) {
      INFO(name << " " << x.tensors[i].first);
      CHECK(x.tensors[i].first == y.tensors[i].first);
      CHECK(x.tensors[i].second.to_vector() == y.tensors[i].second.to_vector());
    }
  }
  const auto x = metrics(a), y = metrics(b);
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i)
    for (const char* key : {"epoch", "train_loss", "test_loss", "test_acc1", "test_acc5", "lr"})
      CHECK(x[i][key] == y[i][key]);
  const auto log = [](const std::string& folder) {
    std::ifstream in(folder + "/log.txt");
    return std::string{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  };
  const std::string text = log(a);
  CHECK(std::count(text.begin(), text.end(), '\n') == int64_t(x.size()));
  CHECK(text == log(b));
}

}  // namespace vitrine::testing
