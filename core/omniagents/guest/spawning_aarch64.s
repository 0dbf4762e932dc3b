// long spawn(uint64_t *table)
//
// Makes a child that shares this process's memory and holds it up until it has become another program or has ended, as
// vfork(2) does, and in it makes the system calls that the table lists, in order. Returns what clone(2) did. Neither
// side uses the stack: it is the same one.
//
// table: two words for the child's report, then seven for each system call: its number, five arguments, and whether it
// may fail. The last is execve. When a call fails that may not, the report is its negative error number and the address
// of its words, and the child exits with 127.
//
// Assembled into spawning.py by: as, objcopy --output-target=binary --only-section=.text

        .text
spawn:  hint    #34                     // bti c
        mov     x9, x0                  // system calls keep it
        mov     x0, #0x4111             // CLONE_VM | CLONE_VFORK | SIGCHLD
        mov     x1, #0                  // the same stack
        mov     x8, #220                // clone
        svc     #0
        cbz     x0, child
        ret

child:  add     x10, x9, #16
next:   ldp     x8, x0, [x10]
        ldp     x1, x2, [x10, #16]
        ldp     x3, x4, [x10, #32]
        svc     #0
        cmn     x0, #4095               // errors are -4095 to -1
        b.hs    failed
passed: add     x10, x10, #56
        b       next

failed: ldr     x11, [x10, #48]
        cbnz    x11, passed
        stp     x0, x10, [x9]
        mov     x0, #127
        mov     x8, #94                 // exit_group
        svc     #0
        brk     #0
