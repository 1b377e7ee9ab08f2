// One turn of cilium/ebpf: `cilium cold|warm TIMES BTF OBJECT…` relocates all programs of the objects against the BTF and
// prints `NANOSECONDS KIB`, the median wall time and the most that was resident. `cilium load OBJECT` loads an object with all
// its programs and drops it again.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

type program struct {
	relos []*btf.CORERelocation
}

func main() {
	var err error
	if os.Args[1] == "load" {
		err = load(os.Args[2])
	} else {
		err = turn(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(path string) error {
	spec, err := ebpf.LoadCollectionSpec(path)
	if err != nil {
		return err
	}
	options := ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: "/sys/fs/bpf"}}
	loaded, err := ebpf.NewCollectionWithOptions(spec, options)
	if err != nil {
		return err
	}
	loaded.Close()
	return nil
}

func turn(mode, count, kernel string, objects []string) error {
	times, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	var programs []program
	for _, path := range objects {
		spec, err := ebpf.LoadCollectionSpec(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, prog := range spec.Programs {
			var relos []*btf.CORERelocation
			for i := range prog.Instructions {
				if relo := btf.CORERelocationMetadata(&prog.Instructions[i]); relo != nil {
					relos = append(relos, relo)
				}
			}
			programs = append(programs, program{relos})
		}
	}
	data, err := os.ReadFile(kernel)
	if err != nil {
		return err
	}
	load := func() (*btf.Spec, error) { return btf.LoadSpecFromReader(strings.NewReader(string(data))) }
	target, err := load()
	if err != nil {
		return err
	}
	var walls []time.Duration
	for i := 0; i <= times; i++ {
		if mode == "cold" {
			if target, err = load(); err != nil {
				return err
			}
		}
		began := time.Now()
		for _, prog := range programs {
			if len(prog.relos) == 0 {
				continue
			}
			builder, err := btf.NewBuilder(nil, nil)
			if err != nil {
				return err
			}
			// What cannot be relocated at all is an error of that program, and part of the work.
			_, _ = btf.CORERelocate(prog.relos, []*btf.Spec{target}, binary.LittleEndian, builder.Add)
		}
		if i > 0 {
			walls = append(walls, time.Since(began))
		}
	}
	slices.Sort(walls)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Println(walls[len(walls)/2].Nanoseconds(), strings.Fields(rest)[0])
		}
	}
	return nil
}
