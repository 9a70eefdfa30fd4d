package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// volume is a file system of its own in an image file, mounted over a place's data folder in a mount namespace that only
// the servers of that place see: it is gone with the test process, whatever happens to it.
type volume struct {
	place  *place
	image  string
	holder *exec.Cmd // keeps the namespace
}

// crashToken is the administrator's token of servers whose data folder only they see.
const crashToken = "crash-test-token-0123456789"

const volumeConfig = crashConfig + "admin_token: " + crashToken + "\n"

// needVolumes skips a test where image files cannot be mounted.
func needVolumes(t testing.TB, scenario string) {
	t.Helper()
	if os.Getuid() != 0 {
		crashes.skip(t, scenario, "mounting an image file needs root")
	}
	for tool, pkg := range map[string]string{"mkfs.ext4": "e2fsprogs", "mount": "mount", "unshare": "util-linux", "nsenter": "util-linux"} {
		if _, err := findTool(tool); err != nil {
			crashes.skip(t, scenario, tool+" is not installed (Debian: "+pkg+")")
		}
	}
	image := filepath.Join(t.TempDir(), "probe")
	if err := makeImage(image, 8<<20); err != nil {
		crashes.skip(t, scenario, err.Error())
	}
	probe := newPlace(t, volumeConfig)
	if _, err := mountVolume(probe, image); err != nil {
		crashes.skip(t, scenario, err.Error())
	}
}

// findTool also looks where only root's PATH does.
func findTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// makeImage makes an empty ext4 file system in a sparse file.
func makeImage(image string, size int64) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	tool, err := findTool("mkfs.ext4")
	if err != nil {
		return err
	}
	// Inodes and journal are written now, so that no thread of the kernel writes to the image later.
	out, err := exec.Command(tool, "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

// newVolume makes a place on an empty file system of this size.
func newVolume(t testing.TB, size int64) *volume {
	t.Helper()
	home := newPlace(t, volumeConfig)
	image := filepath.Join(home.dir, "image")
	if err := makeImage(image, size); err != nil {
		t.Fatal(err)
	}
	v, err := mountVolume(home, image)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mountVolume puts an image under a place's data folder. The kernel's own commits of the journal are as rare as they can
// be, so that only what the program syncs is on the image.
func mountVolume(home *place, image string) (*volume, error) {
	data := filepath.Join(home.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(home.tokenFile(), []byte(crashToken), 0o600); err != nil {
		return nil, err
	}
	holder := exec.Command("unshare", "--mount", "sh", "-c", `mount -o loop,commit=900 "$0" "$1" && echo mounted && read line`, image, data)
	if _, err := holder.StdinPipe(); err != nil { // it ends with this process
		return nil, err
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	holder.Stderr = &said
	if err := holder.Start(); err != nil {
		return nil, err
	}
	home.t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		_ = holder.Wait()
		return nil, fmt.Errorf("cannot mount an image file: %s", strings.TrimSpace(said.String()))
	}
	home.under = []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", holder.Process.Pid), "--"}
	return &volume{home, image, holder}, nil
}

// path is where this process sees a file of the data folder.
func (v *volume) path(name ...string) string {
	root := fmt.Sprintf("/proc/%d/root", v.holder.Process.Pid)
	return filepath.Join(append([]string{root, v.place.dir, "data"}, name...)...)
}

// writes counts what has reached the image's block device, or is on its way.
func (v *volume) writes() (string, error) {
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", v.holder.Process.Pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[4] == filepath.Join(v.place.dir, "data") {
			stat, err := os.ReadFile("/sys/dev/block/" + fields[2] + "/stat")
			if err != nil {
				return "", err
			}
			counts := strings.Fields(string(stat))
			const written, underWay = 4, 8 // Documentation/block/stat.rst
			return counts[written] + " " + counts[underWay], nil
		}
	}
	return "", fmt.Errorf("the volume is not mounted")
}

// copyImage copies the image as it is at one moment, while it is mounted and its server is stopped: a copy during which
// something was written is thrown away and taken again. The image file holds what the file system has written to its block
// device. What only the file system's cache holds is not in the copy: it is what a power cut loses.
func (v *volume) copyImage(to string) error {
	limit := time.Now().Add(patience)
	for time.Now().Before(limit) {
		before, err := v.writes()
		if err != nil {
			return err
		}
		if out, err := exec.Command("cp", "--sparse=always", v.image, to).CombinedOutput(); err != nil {
			return fmt.Errorf("copy the image: %w: %s", err, out)
		}
		after, err := v.writes()
		if err != nil {
			return err
		}
		if before == after && strings.HasSuffix(after, " 0") {
			return nil
		}
	}
	return fmt.Errorf("the image is being written to all the time")
}
